-- A lease that has ended keeps no delivery from a flush.
CREATE OR REPLACE FUNCTION {schema}.flush_v1(p_now bigint, p_destination text, p_after_destination text, p_after_message bigint, p_limit int)
    RETURNS TABLE (flushed int, last_destination text, last_message bigint) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
DECLARE
    looked int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    WITH part AS MATERIALIZED (
        SELECT d.destination, d.message, d.at_once, d.due, NOT d.held AND (d.token IS NULL OR d.until <= p_now) AS free FROM {schema}.delivery d
        WHERE (p_destination IS NULL OR d.destination = p_destination)
            AND (d.destination, d.message) > (p_after_destination COLLATE "C", p_after_message)
        ORDER BY d.destination, d.message LIMIT p_limit
    ), lift AS (
        DELETE FROM {schema}.postponed o USING (SELECT DISTINCT destination FROM part) x WHERE o.destination = x.destination
    ), late AS MATERIALIZED (
        SELECT d.destination, d.message FROM part JOIN {schema}.delivery d ON d.destination = part.destination AND d.message = part.message
        WHERE part.free AND NOT d.held AND (d.token IS NULL OR d.until <= p_now) AND NOT d.at_once AND d.due > p_now
        FOR UPDATE OF d SKIP LOCKED
    ), changed AS (
        UPDATE {schema}.delivery d SET at_once = true, due = p_now, ready = true FROM late
        WHERE d.destination = late.destination AND d.message = late.message
        RETURNING d.destination, d.tenant, d.priority
    ), heads AS (
        INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT DISTINCT true, {schema}.rank_v1(p_now, priority), p_now, destination, tenant, priority, true FROM changed
    )
    SELECT count(*) FILTER (WHERE free), count(*), (array_agg(destination ORDER BY destination DESC, message DESC))[1],
            (array_agg(message ORDER BY destination DESC, message DESC))[1]
        INTO flushed, looked, last_destination, last_message FROM part;
    IF looked < p_limit THEN
        last_destination := NULL;
        last_message := NULL;
    END IF;
    RETURN NEXT;
END $$;
CREATE OR REPLACE FUNCTION {schema}.flush_named_v1(p_now bigint, p_messages bigint[], p_destinations text[], p_without text[])
    RETURNS int LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
DECLARE
    flushed int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    WITH part AS MATERIALIZED (
        SELECT DISTINCT d.destination, d.message, NOT d.held AND (d.token IS NULL OR d.until <= p_now) AS free
        FROM unnest(p_messages, p_destinations) AS s (message, destination)
        JOIN {schema}.message m ON m.id = s.message
        CROSS JOIN LATERAL unnest(CASE WHEN s.destination IS NULL THEN m.destinations ELSE ARRAY[s.destination] END) AS name
        JOIN {schema}.delivery d ON d.destination = name AND d.message = s.message
        WHERE d.destination NOT IN (SELECT unnest(p_without))
    ), lift AS (
        DELETE FROM {schema}.postponed o USING (SELECT DISTINCT destination FROM part) x WHERE o.destination = x.destination
    ), late AS MATERIALIZED (
        SELECT d.destination, d.message FROM part JOIN {schema}.delivery d ON d.destination = part.destination AND d.message = part.message
        WHERE part.free AND NOT d.held AND (d.token IS NULL OR d.until <= p_now) AND NOT d.at_once AND d.due > p_now
        FOR UPDATE OF d SKIP LOCKED
    ), changed AS (
        UPDATE {schema}.delivery d SET at_once = true, due = p_now, ready = true FROM late
        WHERE d.destination = late.destination AND d.message = late.message
        RETURNING d.destination, d.tenant, d.priority
    ), heads AS (
        INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT DISTINCT true, {schema}.rank_v1(p_now, priority), p_now, destination, tenant, priority, true FROM changed
    )
    SELECT count(*) FILTER (WHERE free) INTO flushed FROM part;
    RETURN flushed;
END $$;
