-- Outcomes in a dump that nobody had found yet are found where it was restored.

-- Makes a part of the outcomes that are in none, if there are any, and has it and them
-- survive a power cut.
CREATE OR REPLACE FUNCTION {schema}.outcome_part_v1() RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET jit = off AS $$
DECLARE
    last {schema}.outcome_part;
    f {schema}.outcome_floor;
    snap txid_snapshot;
    xmax_ bigint;
    strange boolean;
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
    SELECT s.snap, EXISTS (SELECT FROM {schema}.outcome o WHERE o.xid >= txid_snapshot_xmax(s.snap)) INTO snap, strange
        FROM (SELECT txid_current_snapshot() AS snap) s;
    xmax_ := txid_snapshot_xmax(snap);
    IF last.number IS NULL THEN
        last := (0, '{}', 0, 0, '{}', f.forgotten);
    END IF;
    IF strange OR xmax_ < last.high THEN
        -- The database was restored from a dump, and its transactions have other numbers. What
        -- is in no part yet is as if it had been settled by this transaction.
        UPDATE {schema}.outcome o SET xid = txid_current(), n = x.n
            FROM (SELECT i.ctid AS at, row_number() OVER (ORDER BY i.xid, i.n)::int AS n FROM {schema}.outcome i
                WHERE (i.xid >= last.high OR i.xid = ANY (last.pending)) AND i.xmin::text::bigint <> i.xid % 4294967296) x
            WHERE o.ctid = x.at;
    END IF;
    IF xmax_ < last.high THEN
        -- What was kept then is forgotten, and what was settled since is kept.
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
