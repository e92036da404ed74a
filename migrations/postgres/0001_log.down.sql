DROP TABLE checkpoint;
DROP TABLE room_log;
DROP TABLE shard_owner;
