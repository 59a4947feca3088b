// One OpenSearch node for tests, on loopback: FOLDER HTTP_PORT TRANSPORT_PORT.
// It ends when its standard input does, and so with whoever started it.

import org.codelibs.opensearch.runner.OpenSearchRunner;

public class OpenSearch {
    public static void main(String[] arguments) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("network.host", "127.0.0.1");
            settings.put("http.port", arguments[1]);
            settings.put("transport.port", arguments[2]);
            settings.put("discovery.type", "single-node");
            settings.putList("discovery.seed_hosts");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        });
        runner.build(OpenSearchRunner.newConfigs().numOfNode(1).basePath(arguments[0]).useLogger());
        while (System.in.read() >= 0) {
            // Nothing that is said to it matters but the end.
        }
        Runtime.getRuntime().halt(0);
    }
}
