//! The Kubernetes manifests: settings the program takes, names that meet, probes the program answers, and times that leave
//! a node its drain.

use std::collections::{BTreeMap, BTreeSet};

use kith::config::MediaEngine;
use serde_json::Value;

use super::{documents, is_a_node_of_a_cluster, loaded, place, texts};
use crate::support::TestServer;

/// Longest that a node drains, seconds.
const DRAIN_S: u64 = 10;

/// The one object of a kind and name.
fn object(file: &str, kind: &str, name: &str) -> Value {
    let file = format!("kubernetes/{file}.yaml");
    let found = documents(&file)
        .into_iter()
        .find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{file} has no {kind} {name}"))
}

fn deployment() -> Value {
    object("deployment", "Deployment", "kith")
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn a_pod_has_settings_the_program_takes() {
    let (deployment, settings) = (
        deployment(),
        object("settings", "ConfigMap", "kith-settings"),
    );
    let secret = object("secret.example", "Secret", "kith-secret");
    let container = container(&deployment);
    let from = container["envFrom"].as_array().expect("a list");
    let mut environment = BTreeMap::new();
    for source in from {
        let (reference, object) = match source.get("secretRef") {
            Some(reference) => (reference, &secret),
            None => (&source["configMapRef"], &settings),
        };
        assert_eq!(reference["name"], object["metadata"]["name"]);
        let data = object.get("stringData").unwrap_or(&object["data"]);
        environment.extend(texts(data));
    }
    for variable in container["env"].as_array().expect("a list") {
        assert_eq!(
            variable["valueFrom"]["fieldRef"]["fieldPath"],
            "metadata.name"
        );
        let name = variable["name"].as_str().expect("a name");
        environment.insert(name.to_owned(), "kith-6d4cf56db6-7xk2p".to_owned());
    }
    let config = loaded(&environment);
    is_a_node_of_a_cluster(&config);
    assert_eq!(config.node.name, "kith-6d4cf56db6-7xk2p");
    assert_eq!(config.media.engine, MediaEngine::S3);
    assert!(!config.search.password.is_empty());
}

#[test]
fn what_manifests_name_of_each_other_is_there() {
    let deployment = deployment();
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let ports = container(&deployment)["ports"].as_array().expect("a list");
    let ports: BTreeSet<_> = ports
        .iter()
        .filter_map(|port| port["name"].as_str())
        .collect();
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    let mut served = BTreeSet::new();
    for service in ["kith", "kith-admin"] {
        let service = object("services", "Service", service);
        assert_eq!(&service["spec"]["selector"], labels);
        for port in service["spec"]["ports"].as_array().expect("a list") {
            let target = port["targetPort"].as_str().expect("a name").to_owned();
            assert!(ports.contains(target.as_str()), "{target}");
            served.insert(target);
        }
    }
    assert_eq!(served.len(), ports.len());
    let budget = object("disruption-budget", "PodDisruptionBudget", "kith");
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let scaler = object("autoscaler", "HorizontalPodAutoscaler", "kith");
    assert_eq!(
        scaler["spec"]["scaleTargetRef"]["name"],
        deployment["metadata"]["name"]
    );
    let least = scaler["spec"]["minReplicas"].as_u64().expect("a number");
    assert!(least >= 3, "one may be away while another is emptied");
    let ingress = object("ingress", "Ingress", "kith");
    for path in ingress["spec"]["rules"][0]["http"]["paths"]
        .as_array()
        .expect("a list")
    {
        assert_eq!(path["backend"]["service"]["name"], "kith", "clients' alone");
        assert_eq!(path["backend"]["service"]["port"]["name"], "clients");
    }
    let policy = object("network-policies", "NetworkPolicy", "kith");
    assert_eq!(&policy["spec"]["podSelector"]["matchLabels"], labels);
    let let_in = policy["spec"]["ingress"].as_array().expect("a list");
    let let_in: BTreeSet<_> = let_in
        .iter()
        .filter_map(|rule| rule["ports"][0]["port"].as_str())
        .collect();
    assert_eq!(let_in, ports);
}

#[test]
fn all_manifests_are_applied_together_and_in_one_namespace() {
    let listed = documents("kubernetes/kustomization.yaml").remove(0);
    let listed: BTreeSet<_> = listed["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        // Everybody's own, from the example.
        .map(|name| {
            if name == "secret.yaml" {
                "secret.example.yaml"
            } else {
                name
            }
        })
        .map(str::to_owned)
        .collect();
    let folder = place("kubernetes").read_dir().expect("a folder");
    let mut there: BTreeSet<_> = folder
        .map(|item| {
            item.expect("an item")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    there.remove("kustomization.yaml");
    there.remove("secret.yaml");
    assert_eq!(listed, there);
    for file in there {
        for object in documents(&format!("kubernetes/{file}")) {
            let metadata = &object["metadata"];
            let namespace = match object["kind"] == "Namespace" {
                true => &metadata["name"],
                false => &metadata["namespace"],
            };
            assert_eq!(namespace, "kith", "{file}");
        }
    }
}

#[test]
fn a_pod_is_nobody_privileged_and_writes_where_it_may_alone() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["runAsUser"], 65532,
        "as in the image"
    );
    assert_eq!(pod["automountServiceAccountToken"], false);
    let own = &container(&deployment)["securityContext"];
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["capabilities"]["drop"][0], "ALL");
    let mounts = container(&deployment)["volumeMounts"]
        .as_array()
        .expect("a list");
    let mounts: Vec<_> = mounts
        .iter()
        .filter_map(|mount| mount["mountPath"].as_str())
        .collect();
    assert_eq!(mounts, ["/var/lib/kith", "/tmp"]);
}

#[test]
fn a_node_that_goes_has_the_time_to_go() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"]
        .as_u64()
        .expect("seconds");
    let pause = &container(&deployment)["lifecycle"]["preStop"]["sleep"]["seconds"];
    let pause = pause.as_u64().expect("seconds");
    assert!(pause >= 5, "proxies have to hear of it");
    assert!(grace >= pause + DRAIN_S + 5, "{grace} s are not enough");
    assert_eq!(
        deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
        0
    );
}

#[tokio::test]
async fn the_probes_are_answered_by_the_administrations_address() {
    let server = TestServer::bare().await;
    let deployment = deployment();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let probe = &container(&deployment)[probe]["httpGet"];
        assert_eq!(probe["port"], "admin");
        let path = probe["path"].as_str().expect("a path");
        let url = format!("http://{}{path}", server.app().admin_address);
        let answer = server.http.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    let liveness = &container(&deployment)["livenessProbe"]["httpGet"]["path"];
    assert_ne!(
        liveness, "/readyz",
        "a store that is away is no reason to restart"
    );
}
