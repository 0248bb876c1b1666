-- The tables of a queue. Times are microseconds since 1970 on the clock of the server;
-- strings that may hold any bytes are bytea. docs/postgres.md explains them.

-- One row for each message: written once, deleted with its last recipient.
CREATE SEQUENCE {schema}.message_id CACHE 1; -- with more, ids would not be in the order in which they are given
CREATE TABLE {schema}.message (
    id           bigint PRIMARY KEY,
    tag          int NOT NULL,      -- random, so that no id is given twice even if the sequence goes back
    envelope     bytea NOT NULL,    -- the message without its content, in an encoding of its own
    envelope_sum int NOT NULL,      -- CRC-32C
    arrived      bigint NOT NULL,
    size         bigint NOT NULL,   -- of the content
    content      bytea,             -- null if it is in table content
    content_sum  int NOT NULL,      -- of the column before
    tenant       bytea NOT NULL,
    key          bytea,             -- null if it has none
    once         boolean NOT NULL,  -- to be sent at most once
    destinations text[] COLLATE "C" NOT NULL,
    remaining    int NOT NULL,      -- how many of them have pending recipients
    held         boolean NOT NULL DEFAULT false,
    hold_since   bigint,
    hold_until   bigint,
    hold_reason  bytea
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000, toast.autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.message ALTER content SET STORAGE EXTERNAL; -- mail hardly shrinks
CREATE INDEX message_hold_until ON {schema}.message (hold_until) WHERE hold_until IS NOT NULL;

-- Large contents in pieces.
CREATE TABLE {schema}.content (
    message bigint,
    n       int,
    sum     int NOT NULL, -- CRC-32C
    data    bytea NOT NULL,
    PRIMARY KEY (message, n)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000, toast.autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.content ALTER data SET STORAGE EXTERNAL;

-- Contents that are on their way in, before their message is there.
CREATE TABLE {schema}.upload (
    message bigint PRIMARY KEY,
    touched timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Keys of messages that are there, and of messages that have left.
CREATE TABLE {schema}.key (
    tenant  bytea,
    key     bytea,
    message bigint NOT NULL,
    tag     int NOT NULL,
    until   bigint, -- null while the message is there
    PRIMARY KEY (tenant, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX key_until ON {schema}.key (until) WHERE until IS NOT NULL;

-- The hot table: one row for each message and destination.
CREATE TABLE {schema}.delivery (
    destination text COLLATE "C",
    message     bigint,
    tenant      bytea NOT NULL,
    priority    smallint NOT NULL,
    at_once     boolean NOT NULL, -- due whatever the time is
    due         bigint NOT NULL,  -- since when or from when
    held        boolean NOT NULL DEFAULT false,
    ready       boolean NOT NULL, -- neither on hold nor leased, but for a lease that has ended
    token       bigint,           -- null if it is not leased
    until       bigint,           -- when the lease ends
    marked      boolean NOT NULL DEFAULT false,
    warned      boolean NOT NULL DEFAULT false,
    states      bytea NOT NULL,   -- the pending recipients, in an encoding of its own
    because     bytea,
    PRIMARY KEY (destination, message)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX delivery_lane ON {schema}.delivery (destination, tenant, priority, at_once, due, message) WHERE ready;
CREATE INDEX delivery_until ON {schema}.delivery (ready, until) WHERE token IS NOT NULL AND NOT held;

-- A lane is what a tenant has for a destination at a priority, either at once or later.
-- For every delivery that is ready there is a head of its lane whose due is not after it.
-- There may be several heads of a lane, and heads of empty lanes: who makes a delivery
-- ready adds one, and who claims puts one in place of those that it found. So nobody
-- waits for a row that somebody else has locked.
CREATE TABLE {schema}.head (
    seq         bigserial PRIMARY KEY,
    ripe        boolean NOT NULL, -- at once, or later and some claim found that it is time
    rank        bigint NOT NULL,  -- due, less ten minutes for each step of priority
    due         bigint NOT NULL,
    destination text COLLATE "C" NOT NULL,
    tenant      bytea NOT NULL,
    priority    smallint NOT NULL,
    at_once     boolean NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0);
CREATE INDEX head_ripe ON {schema}.head (rank, seq) WHERE ripe;
CREATE INDEX head_later ON {schema}.head (due) WHERE NOT ripe;

-- Destinations that are postponed for everybody.
CREATE TABLE {schema}.postponed (
    destination text COLLATE "C" PRIMARY KEY,
    until       bigint NOT NULL,
    reason      bytea
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- What claimers are told to leave alone.
CREATE TABLE {schema}.suspension (
    kind   smallint,
    name   bytea,
    since  bigint NOT NULL,
    until  bigint,
    reason bytea,
    PRIMARY KEY (kind, name)
);

CREATE FUNCTION {schema}.rank_v1(due bigint, priority smallint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    $$ SELECT due - priority * 600000000::bigint $$;

-- Forgets what is over, a part of it at a time: uploads that nobody goes on with, and keys.
CREATE FUNCTION {schema}.clean_v1(p_now bigint) RETURNS int LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    n int;
    done int := 0;
BEGIN
    WITH old AS (SELECT message FROM {schema}.upload WHERE touched < clock_timestamp() - interval '1 hour'
            ORDER BY message LIMIT 100 FOR UPDATE SKIP LOCKED),
        pieces AS (DELETE FROM {schema}.content c USING old WHERE c.message = old.message)
    DELETE FROM {schema}.upload u USING old WHERE u.message = old.message;
    GET DIAGNOSTICS n = ROW_COUNT;
    done := done + n;
    DELETE FROM {schema}.key k USING (SELECT tenant, key FROM {schema}.key WHERE until <= p_now
            ORDER BY until LIMIT 1000 FOR UPDATE SKIP LOCKED) old
        WHERE k.tenant = old.tenant AND k.key = old.key;
    GET DIAGNOSTICS n = ROW_COUNT;
    DELETE FROM {schema}.postponed p USING (SELECT destination FROM {schema}.postponed WHERE until <= p_now - 3600000000
            LIMIT 1000 FOR UPDATE SKIP LOCKED) old
        WHERE p.destination = old.destination;
    RETURN done + n;
END $$;
