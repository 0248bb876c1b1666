-- Forgets what is over, a part of it at a time. What says when a short lease ends is kept
-- for ten minutes longer: a claimer that claims seldom would not learn of it otherwise.
-- After five minutes each looks at all leases again.
CREATE OR REPLACE FUNCTION {schema}.clean_v1(p_now bigint) RETURNS int LANGUAGE plpgsql
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
    DELETE FROM {schema}.head h WHERE h.ctid = ANY (ARRAY(SELECT o.ctid FROM {schema}.head o
        WHERE NOT o.ripe AND o.due = 9223372036854775807 AND o.rank <= p_now - 600000000 LIMIT 5000 FOR UPDATE SKIP LOCKED));
    RETURN done + n;
END $$;
