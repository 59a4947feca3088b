// Makes a replica set of the members in MEMBERS under the name in SET, once, and waits until it has a primary.
// Run by mongosh on the first member. Where the set is there already it changes nothing.

const members = process.env.MEMBERS.split(",").map((host, _id) => ({ _id, host }));
const NOT_YET_INITIALIZED = 94;
const PATIENCE_MS = 120_000;

try {
  rs.status();
} catch (error) {
  if (error.code !== NOT_YET_INITIALIZED) throw error;
  const isMap = db.adminCommand({ getCmdLineOpts: 1 }).parsed.sharding?.clusterRole === "configsvr";
  rs.initiate({ _id: process.env.SET, ...(isMap && { configsvr: true }), members });
}

const deadline = Date.now() + PATIENCE_MS;
while (!rs.status().members.some((member) => member.stateStr === "PRIMARY")) {
  if (Date.now() > deadline) {
    print(`${process.env.SET} has no primary after ${PATIENCE_MS / 1000} s`);
    quit(1);
  }
  sleep(500);
}
print(`${process.env.SET} has a primary`);
