SELECT shard, epoch, extract(epoch FROM now() - opened_at)::float8 FROM meter.shards
