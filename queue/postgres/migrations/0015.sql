-- The outcomes of recipients, for programs that have them kept.

-- One row for each recipient that was delivered or has failed, in the transaction of its
-- settlement.
CREATE TABLE {schema}.outcome (
    xid  bigint NOT NULL, -- that transaction
    n    int NOT NULL,    -- its place among those of the transaction
    at   bigint NOT NULL, -- when it was settled
    sum  int NOT NULL,    -- CRC-32C
    data bytea NOT NULL   -- in an encoding of its own
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outcome_place ON {schema}.outcome (xid, n);

-- The order of outcomes is that in which readers first found their transactions committed. A
-- part is what one of them found: of the transactions that were under way at the part
-- before, those that had committed since (late); and those from low on and before high, but
-- for some that were under way (pending). Within a part outcomes are in the order of the
-- transactions' numbers. So nobody who settles waits, and no reader passes over a
-- transaction that commits after one with a higher number, however long others stay open.
CREATE TABLE {schema}.outcome_part (
    number  bigint PRIMARY KEY, -- the server's time, unless that is not greater than the last
    late    bigint[] NOT NULL,
    low     bigint NOT NULL,
    high    bigint NOT NULL,
    pending bigint[] NOT NULL,
    total   bigint NOT NULL     -- how many outcomes there were up to its end, ever
);

-- Where the last outcome was that was forgotten, and how many were. Who makes a part or
-- forgets outcomes has it locked.
CREATE TABLE {schema}.outcome_floor (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    number    bigint NOT NULL,
    xid       bigint NOT NULL,
    n         int NOT NULL,
    forgotten bigint NOT NULL
);
INSERT INTO {schema}.outcome_floor (number, xid, n, forgotten) VALUES (0, 0, 0, 0);

-- Makes a part of the outcomes that are in none, if there are any, and has it and them
-- survive a power cut.
CREATE FUNCTION {schema}.outcome_part_v1() RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET jit = off AS $$
DECLARE
    last {schema}.outcome_part;
    f {schema}.outcome_floor;
    snap txid_snapshot;
    xmax_ bigint;
    late_ bigint[];
    pending_ bigint[];
    found_ bigint;
BEGIN
    SELECT p.* INTO last FROM {schema}.outcome_part p ORDER BY p.number DESC LIMIT 1;
    SELECT txid_current_snapshot() INTO snap;
    IF txid_snapshot_xmax(snap) >= coalesce(last.high, 0)
        AND NOT EXISTS (SELECT FROM {schema}.outcome o WHERE o.xid >= coalesce(last.high, 0))
        AND NOT EXISTS (SELECT FROM unnest(last.pending) AS x (xid)
            CROSS JOIN LATERAL (SELECT o.xid FROM {schema}.outcome o WHERE o.xid = x.xid LIMIT 1) o) THEN
        RETURN;
    END IF;

    SELECT o.* INTO f FROM {schema}.outcome_floor o FOR UPDATE;
    PERFORM {schema}.durable_v1();
    SELECT p.* INTO last FROM {schema}.outcome_part p ORDER BY p.number DESC LIMIT 1;
    SELECT txid_current_snapshot() INTO snap;
    xmax_ := txid_snapshot_xmax(snap);
    IF last.number IS NULL THEN
        last := (0, '{}', 0, 0, '{}', f.forgotten);
    ELSIF xmax_ < last.high THEN
        -- The database was restored from a dump, and its transactions have other numbers. What
        -- was kept then is forgotten, and what was settled since is kept.
        DELETE FROM {schema}.outcome o WHERE o.xmin::text::bigint <> o.xid % 4294967296;
        UPDATE {schema}.outcome_floor o SET number = last.number, xid = 9223372036854775807, n = 2147483647, forgotten = last.total;
        last.low := 0;
        last.high := 0;
        last.pending := '{}';
    END IF;
    pending_ := ARRAY(SELECT txid_snapshot_xip(snap));
    late_ := ARRAY(SELECT x.xid FROM unnest(last.pending) AS x (xid) WHERE txid_visible_in_snapshot(x.xid, snap)
        AND EXISTS (SELECT FROM {schema}.outcome o WHERE o.xid = x.xid) ORDER BY x.xid);
    found_ := (SELECT count(*) FROM unnest(late_) AS x (xid) CROSS JOIN LATERAL (SELECT o.n FROM {schema}.outcome o WHERE o.xid = x.xid OFFSET 0) o)
        + (SELECT count(*) FROM {schema}.outcome o WHERE o.xid >= last.high AND o.xid < xmax_ AND o.xid NOT IN (SELECT unnest(pending_)));
    IF found_ > 0 THEN
        INSERT INTO {schema}.outcome_part (number, late, low, high, pending, total) VALUES (
            greatest(last.number + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
            late_, last.high, xmax_, pending_, last.total + found_);
    END IF;
END $$;

-- The outcomes after a place, in order.
CREATE FUNCTION {schema}.outcome_page_v1(p_number bigint, p_xid bigint, p_n int, p_max int) RETURNS TABLE (
    number bigint, xid bigint, n int, place tid, at bigint, sum int, data bytea
) LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    p record;
    found_ int;
BEGIN
    FOR p IN SELECT o.* FROM {schema}.outcome_part o WHERE o.number >= p_number ORDER BY o.number LOOP
        IF p.number > p_number THEN
            p_xid := -1;
        END IF;
        RETURN QUERY SELECT p.number, x.xid, o.n, o.place, o.at, o.sum, o.data FROM unnest(p.late) AS x (xid)
            CROSS JOIN LATERAL (SELECT o.ctid AS place, o.* FROM {schema}.outcome o WHERE o.xid = x.xid ORDER BY o.n OFFSET 0) o
            WHERE (x.xid, o.n) > (p_xid, p_n) ORDER BY x.xid, o.n LIMIT p_max;
        GET DIAGNOSTICS found_ = ROW_COUNT;
        p_max := p_max - found_;
        EXIT WHEN p_max <= 0;
        RETURN QUERY SELECT p.number, o.xid, o.n, o.ctid, o.at, o.sum, o.data FROM {schema}.outcome o
            WHERE o.xid >= p.low AND o.xid < p.high AND (o.xid, o.n) > (p_xid, p_n) AND o.xid NOT IN (SELECT unnest(p.pending))
            ORDER BY o.xid, o.n LIMIT p_max;
        GET DIAGNOSTICS found_ = ROW_COUNT;
        p_max := p_max - found_;
        EXIT WHEN p_max <= 0;
    END LOOP;
END $$;

-- Forgets the oldest outcomes: those settled up to a time, and those that are more than a
-- number. It returns how many, p_limit at most.
CREATE FUNCTION {schema}.forget_outcomes_v1(p_before bigint, p_most bigint, p_limit int) RETURNS int LANGUAGE plpgsql
    SET enable_seqscan = off SET jit = off AS $$
DECLARE
    f {schema}.outcome_floor;
    last {schema}.outcome_part;
    excess bigint;
    o record;
    gone tid[] := '{}';
BEGIN
    SELECT x.* INTO f FROM {schema}.outcome_floor x FOR UPDATE;
    SELECT p.* INTO last FROM {schema}.outcome_part p ORDER BY p.number DESC LIMIT 1;
    excess := coalesce(last.total, 0) - f.forgotten - p_most;
    FOR o IN SELECT * FROM {schema}.outcome_page_v1(f.number, f.xid, f.n, p_limit) LOOP
        EXIT WHEN o.at > p_before AND cardinality(gone) >= excess;
        gone := gone || o.place;
        f.number := o.number;
        f.xid := o.xid;
        f.n := o.n;
    END LOOP;
    IF gone <> '{}' THEN
        DELETE FROM {schema}.outcome x WHERE x.ctid = ANY (gone);
        UPDATE {schema}.outcome_floor SET number = f.number, xid = f.xid, n = f.n, forgotten = f.forgotten + cardinality(gone);
        DELETE FROM {schema}.outcome_part p WHERE p.number < f.number AND p.number < last.number;
    END IF;
    RETURN cardinality(gone);
END $$;

-- The outcomes after a place, or from the first that is kept on, and at the end the place
-- of the last that was forgotten. If a quarter too many are kept, the first go.
CREATE FUNCTION {schema}.outcomes_v1(p_number bigint, p_xid bigint, p_n int, p_max int, p_most bigint) RETURNS TABLE (
    number bigint, xid bigint, n int, sum int, data bytea
) LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    f {schema}.outcome_floor;
    kept bigint;
BEGIN
    PERFORM {schema}.outcome_part_v1();
    SELECT o.* INTO f FROM {schema}.outcome_floor o;
    kept := (SELECT p.total FROM {schema}.outcome_part p ORDER BY p.number DESC LIMIT 1) - f.forgotten;
    IF kept > p_most + p_most / 4 THEN
        PERFORM {schema}.forget_outcomes_v1(-9223372036854775808, p_most, 10000);
        SELECT o.* INTO f FROM {schema}.outcome_floor o;
    END IF;
    IF (f.number, f.xid, f.n) > (p_number, p_xid, p_n) THEN
        p_number := f.number;
        p_xid := f.xid;
        p_n := f.n;
    END IF;
    RETURN QUERY SELECT o.number, o.xid, o.n, o.sum, o.data FROM {schema}.outcome_page_v1(p_number, p_xid, p_n, p_max) o;
    RETURN QUERY SELECT o.number, o.xid, o.n, 0, NULL::bytea FROM {schema}.outcome_floor o;
END $$;

-- Settles a batch as settle_v1 does, and keeps outcomes, which name their settlement by
-- its number.
CREATE FUNCTION {schema}.settle_v2(
    p_now bigint, p_forget bigint, p_apply boolean[], p_messages bigint[], p_destinations text[], p_tokens bigint[],
    p_states bytea[], p_at_once boolean[], p_due bigint[], p_warned boolean[], p_because bytea[],
    c_settlement int[], c_ids bigint[], c_tags int[], c_envelopes bytea[], c_envelope_sums int[], c_arrived bigint[],
    c_sizes bigint[], c_contents bytea[], c_content_sums int[], c_tenants bytea[], c_keys bytea[], c_once boolean[],
    c_priorities smallint[], c_at_once boolean[], c_due bigint[],
    c_of int[], c_destinations text[], c_states bytea[],
    o_settlement int[], o_sums int[], o_data bytea[]
) RETURNS TABLE (settled int[], created int[], ids bigint[], tags int[]) LANGUAGE plpgsql SET jit = off AS $$
BEGIN
    SELECT s.* INTO settled, created, ids, tags FROM {schema}.settle_v1(p_now, p_forget, p_apply, p_messages, p_destinations, p_tokens,
        p_states, p_at_once, p_due, p_warned, p_because, c_settlement, c_ids, c_tags, c_envelopes, c_envelope_sums, c_arrived,
        c_sizes, c_contents, c_content_sums, c_tenants, c_keys, c_once, c_priorities, c_at_once, c_due, c_of, c_destinations, c_states) s;
    INSERT INTO {schema}.outcome (xid, n, at, sum, data)
        SELECT txid_current(), o.n, p_now, o.sum, o.data FROM unnest(o_settlement, o_sums, o_data) WITH ORDINALITY AS o (s, sum, data, n)
        WHERE p_apply[o.s] AND o.s = ANY (settled);
    RETURN NEXT;
END $$;
