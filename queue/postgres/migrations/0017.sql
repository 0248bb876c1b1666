-- Leases deliveries that are ready, and that nobody else has in hand. The content of a
-- message comes with the first of them if it has p_each bytes at most. Messages are read
-- after the update: it would copy all that it was joined with, contents too, for each row.
CREATE OR REPLACE FUNCTION {schema}.lease_v2(p_until bigint, p_base bigint, p_destinations text[], p_messages bigint[], p_each bigint) RETURNS TABLE (
    n int, message bigint, destination text, token bigint, due bigint, states bytea, warned boolean, marked boolean,
    tag int, size bigint, envelope bytea, envelope_sum int, content bytea, content_sum int
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
    SET plan_cache_mode = force_generic_plan SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        WITH leased AS (
            UPDATE {schema}.delivery d SET ready = false, token = p_base + x.n, until = p_until
            FROM (
                SELECT o.at, t.n, row_number() OVER (PARTITION BY o.message ORDER BY t.n) = 1 AS first
                FROM unnest(p_destinations, p_messages) WITH ORDINALITY AS t (destination, message, n)
                CROSS JOIN LATERAL (SELECT o.ctid AS at, o.message, o.ready FROM {schema}.delivery o
                    WHERE o.destination = t.destination AND o.message = t.message OFFSET 0 FOR UPDATE SKIP LOCKED) o
                WHERE o.ready
            ) x
            WHERE d.ctid = x.at
            RETURNING x.n, x.first, d.message, d.destination, d.token, d.due, d.states, d.warned, d.marked
        )
        SELECT l.n::int, l.message, l.destination::text, l.token, l.due, l.states, l.warned, l.marked,
            m.tag, m.size, CASE WHEN l.first THEN m.envelope END, m.envelope_sum,
            CASE WHEN l.first AND m.size <= p_each THEN coalesce(m.content,
                (SELECT c.data FROM {schema}.content c WHERE c.message = l.message AND c.n = 0)) END, m.content_sum
        FROM leased l CROSS JOIN LATERAL (SELECT o.tag, o.size, o.envelope, o.envelope_sum, o.content, o.content_sum
            FROM {schema}.message o WHERE o.id = l.message OFFSET 0) m;
END $$;
