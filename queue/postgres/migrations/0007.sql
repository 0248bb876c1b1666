-- Requests to programs that work on the queue, such as those of administrators: the table
-- has the privileges that a notification has not. The library does not use it.

-- Programs that answer.
CREATE TABLE {schema}.responder (
    name  bytea PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Requests, each to one of them, and what it has answered.
CREATE TABLE {schema}.request (
    id        bytea PRIMARY KEY,
    responder bytea NOT NULL,
    asked     timestamptz NOT NULL DEFAULT clock_timestamp(),
    body      bytea NOT NULL,
    answered  timestamptz,
    answer    bytea,
    code      int,
    problem   bytea
);
CREATE INDEX request_responder ON {schema}.request (responder) WHERE answered IS NULL;
