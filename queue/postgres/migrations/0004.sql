-- Administration.

-- Puts a message on hold or ends its hold. It returns whether the message is there.
CREATE FUNCTION {schema}.hold_v1(p_message bigint, p_tag int, p_held boolean, p_since bigint, p_until bigint, p_reason bytea)
    RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    m record;
BEGIN
    PERFORM {schema}.durable_v1();
    SELECT o.held, o.destinations INTO m FROM {schema}.message o WHERE o.id = p_message AND o.tag = p_tag FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE {schema}.message o SET held = p_held, hold_since = p_since, hold_until = p_until, hold_reason = p_reason
        WHERE o.id = p_message;
    IF m.held = p_held THEN
        RETURN true;
    END IF;
    WITH mine AS (SELECT o.destination FROM unnest(m.destinations) AS name JOIN {schema}.delivery o
            ON o.destination = name AND o.message = p_message ORDER BY o.destination FOR UPDATE OF o),
        changed AS (UPDATE {schema}.delivery d SET held = p_held, ready = NOT p_held AND d.token IS NULL
            FROM mine WHERE d.destination = mine.destination AND d.message = p_message
            RETURNING d.destination, d.tenant, d.priority, d.at_once, d.due, d.ready)
    INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT at_once, {schema}.rank_v1(due, priority), due, destination, tenant, priority, at_once FROM changed WHERE ready;
    RETURN true;
END $$;

-- Drops a message. It returns whether it was there.
CREATE FUNCTION {schema}.drop_v1(p_message bigint, p_tag int) RETURNS boolean LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    names text[];
BEGIN
    PERFORM {schema}.durable_v1();
    SELECT o.destinations INTO names FROM {schema}.message o WHERE o.id = p_message AND o.tag = p_tag FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM unnest(names) AS name JOIN {schema}.delivery o ON o.destination = name AND o.message = p_message
        ORDER BY o.destination FOR UPDATE OF o;
    DELETE FROM {schema}.delivery d USING unnest(names) AS name WHERE d.destination = name AND d.message = p_message;
    PERFORM {schema}.remove_v1(ARRAY[p_message], NULL);
    RETURN true;
END $$;

-- Makes a part of the deliveries due at once: those of some messages and of some
-- destinations (all if null), and those given by both, but for what is with others
-- already. It goes on after a delivery and returns the last that it looked at, null at
-- the end, and how many are due now. A part is small: none holds the others up.
CREATE FUNCTION {schema}.flush_v1(p_now bigint, p_destination text, p_after_destination text, p_after_message bigint, p_limit int)
    RETURNS TABLE (flushed int, last_destination text, last_message bigint) LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    looked int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    WITH part AS MATERIALIZED (
        SELECT d.destination, d.message, d.at_once, d.due, NOT d.held AND d.token IS NULL AS free FROM {schema}.delivery d
        WHERE (p_destination IS NULL OR d.destination = p_destination)
            AND (d.destination, d.message) > (p_after_destination COLLATE "C", p_after_message)
        ORDER BY d.destination, d.message LIMIT p_limit
    ), lift AS (
        DELETE FROM {schema}.postponed o USING (SELECT DISTINCT destination FROM part) x WHERE o.destination = x.destination
    ), late AS MATERIALIZED (
        SELECT d.destination, d.message FROM part JOIN {schema}.delivery d ON d.destination = part.destination AND d.message = part.message
        WHERE part.free AND NOT d.held AND d.token IS NULL AND NOT d.at_once AND d.due > p_now
        FOR UPDATE OF d SKIP LOCKED
    ), changed AS (
        UPDATE {schema}.delivery d SET at_once = true, due = p_now FROM late
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

-- Makes deliveries due at once that are given by name. A destination that is null stands
-- for all of the message; those of the destinations to leave out are flushed otherwise.
CREATE FUNCTION {schema}.flush_named_v1(p_now bigint, p_messages bigint[], p_destinations text[], p_without text[])
    RETURNS int LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    flushed int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    WITH part AS MATERIALIZED (
        SELECT DISTINCT d.destination, d.message, NOT d.held AND d.token IS NULL AS free
        FROM unnest(p_messages, p_destinations) AS s (message, destination)
        JOIN {schema}.message m ON m.id = s.message
        CROSS JOIN LATERAL unnest(CASE WHEN s.destination IS NULL THEN m.destinations ELSE ARRAY[s.destination] END) AS name
        JOIN {schema}.delivery d ON d.destination = name AND d.message = s.message
        WHERE d.destination NOT IN (SELECT unnest(p_without))
    ), lift AS (
        DELETE FROM {schema}.postponed o USING (SELECT DISTINCT destination FROM part) x WHERE o.destination = x.destination
    ), late AS MATERIALIZED (
        SELECT d.destination, d.message FROM part JOIN {schema}.delivery d ON d.destination = part.destination AND d.message = part.message
        WHERE part.free AND NOT d.held AND d.token IS NULL AND NOT d.at_once AND d.due > p_now
        FOR UPDATE OF d SKIP LOCKED
    ), changed AS (
        UPDATE {schema}.delivery d SET at_once = true, due = p_now FROM late
        WHERE d.destination = late.destination AND d.message = late.message
        RETURNING d.destination, d.tenant, d.priority
    ), heads AS (
        INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT DISTINCT true, {schema}.rank_v1(p_now, priority), p_now, destination, tenant, priority, true FROM changed
    )
    SELECT count(*) FILTER (WHERE free) INTO flushed FROM part;
    RETURN flushed;
END $$;

-- Postpones destinations for everybody, or lifts that where the time is null, in order
-- of their names, so that no two calls wait for each other.
CREATE FUNCTION {schema}.postpone_v1(p_destinations text[], p_until bigint[], p_reasons bytea[]) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR i IN 1 .. cardinality(p_destinations) LOOP
        IF p_until[i] IS NULL THEN
            DELETE FROM {schema}.postponed o WHERE o.destination = p_destinations[i];
        ELSE
            INSERT INTO {schema}.postponed (destination, until, reason) VALUES (p_destinations[i], p_until[i], p_reasons[i])
                ON CONFLICT (destination) DO UPDATE SET until = excluded.until, reason = excluded.reason;
        END IF;
    END LOOP;
END $$;
