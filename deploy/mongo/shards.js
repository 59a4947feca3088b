// Adds the shards in SHARDS (SET/HOST,HOST … with a blank between two) to the cluster whose router runs this.
// A shard that is there already stays as it is.

const known = db.adminCommand({ listShards: 1 }).shards.map((shard) => shard._id);
for (const shard of process.env.SHARDS.split(" ")) {
  if (known.includes(shard.split("/")[0])) continue;
  const added = sh.addShard(shard);
  if (!added.ok) {
    print(`${shard} was not added: ${added.errmsg}`);
    quit(1);
  }
}
print(`${db.adminCommand({ listShards: 1 }).shards.length} shards`);
