-- What changes a queue: put, settle, extend, mark. A function has a version in its name,
-- so that agents of two versions can work on one database.

-- Has the transaction survive a power cut, whatever the role's settings say.
CREATE FUNCTION {schema}.durable_v1() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- Stores a piece of a content whose message comes later, and returns its number, which
-- the first piece (null) is given. A piece need not be synced: the message is, after it.
CREATE FUNCTION {schema}.upload_v1(p_async boolean, p_message bigint, p_n int, p_sum int, p_data bytea) RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    IF p_async THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    IF p_message IS NULL THEN
        p_message := nextval('{schema in text}.message_id');
        INSERT INTO {schema}.upload (message) VALUES (p_message);
    ELSE
        UPDATE {schema}.upload u SET touched = clock_timestamp() WHERE u.message = p_message;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the upload of content % was given up', p_message USING ERRCODE = 'NH001';
        END IF;
    END IF;
    INSERT INTO {schema}.content (message, n, sum, data) VALUES (p_message, p_n, p_sum, p_data);
    RETURN p_message;
END $$;

-- Puts messages, and returns for each its id, or that of the message that has its key.
-- Deliveries name their message by its number.
CREATE FUNCTION {schema}.put_v1(
    p_durable boolean, p_now bigint, p_ids bigint[], p_tags int[], p_envelopes bytea[], p_envelope_sums int[], p_arrived bigint[],
    p_sizes bigint[], p_contents bytea[], p_content_sums int[], p_tenants bytea[], p_keys bytea[], p_once boolean[],
    p_priorities smallint[], p_at_once boolean[], p_due bigint[],
    p_of int[], p_destinations text[], p_states bytea[]
) RETURNS TABLE (n int, id bigint, tag int, known boolean) LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    names text[];
    k record;
BEGIN
    IF p_durable THEN
        PERFORM {schema}.durable_v1();
    END IF;
    FOR i IN 1 .. cardinality(p_tags) LOOP
        n := i;
        id := p_ids[i];
        tag := p_tags[i];
        known := false;
        IF id IS NULL THEN
            id := nextval('{schema in text}.message_id');
        END IF;
        IF p_contents[i] IS NULL THEN
            DELETE FROM {schema}.upload u WHERE u.message = put_v1.id;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the upload of content % was given up', put_v1.id USING ERRCODE = 'NH001';
            END IF;
        END IF;
        IF p_keys[i] IS NOT NULL THEN
            LOOP
                INSERT INTO {schema}.key (tenant, key, message, tag)
                    VALUES (p_tenants[i], p_keys[i], put_v1.id, put_v1.tag) ON CONFLICT DO NOTHING;
                EXIT WHEN FOUND;
                SELECT o.message, o.tag, o.until INTO k FROM {schema}.key o WHERE o.tenant = p_tenants[i] AND o.key = p_keys[i];
                CONTINUE WHEN NOT FOUND;
                IF k.until IS NULL OR k.until > p_now THEN
                    known := true;
                    EXIT;
                END IF;
                DELETE FROM {schema}.key o WHERE o.tenant = p_tenants[i] AND o.key = p_keys[i] AND o.until <= p_now;
            END LOOP;
        END IF;
        IF known THEN
            IF p_contents[i] IS NULL THEN
                DELETE FROM {schema}.content c WHERE c.message = put_v1.id;
            END IF;
            id := k.message;
            tag := k.tag;
            RETURN NEXT;
            CONTINUE;
        END IF;
        SELECT array_agg(d.name ORDER BY d.at) INTO names
            FROM unnest(p_of, p_destinations) WITH ORDINALITY AS d (of, name, at) WHERE d.of = i;
        INSERT INTO {schema}.message (id, tag, envelope, envelope_sum, arrived, size, content, content_sum, tenant, key,
                once, destinations, remaining)
            VALUES (put_v1.id, put_v1.tag, p_envelopes[i], p_envelope_sums[i], p_arrived[i], p_sizes[i], p_contents[i],
                p_content_sums[i], p_tenants[i], p_keys[i], p_once[i], names, cardinality(names));
        INSERT INTO {schema}.delivery (destination, message, tenant, priority, at_once, due, ready, states)
            SELECT d.name, put_v1.id, p_tenants[i], p_priorities[i], p_at_once[i], p_due[i], true, d.states
            FROM unnest(p_of, p_destinations, p_states) AS d (of, name, states) WHERE d.of = i;
        INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT p_at_once[i], {schema}.rank_v1(p_due[i], p_priorities[i]), p_due[i], d.name, p_tenants[i], p_priorities[i], p_at_once[i]
            FROM unnest(names) AS d (name);
        RETURN NEXT;
    END LOOP;
END $$;

-- Removes messages whose last delivery has ended, and remembers their keys until a time.
-- Its caller has locked them.
CREATE FUNCTION {schema}.remove_v1(p_ids bigint[], p_forget bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    WITH gone AS (DELETE FROM {schema}.message m USING unnest(p_ids) AS g (id) WHERE m.id = g.id
            RETURNING m.id, m.tenant, m.key, m.content IS NULL AS pieces),
        pieces AS (DELETE FROM {schema}.content c USING gone WHERE gone.pieces AND c.message = gone.id),
        kept AS (UPDATE {schema}.key k SET until = p_forget FROM gone
            WHERE p_forget IS NOT NULL AND k.tenant = gone.tenant AND k.key = gone.key AND k.message = gone.id)
    DELETE FROM {schema}.key k USING gone
        WHERE p_forget IS NULL AND k.tenant = gone.tenant AND k.key = gone.key AND k.message = gone.id;
END $$;

-- Settles a batch. A settlement whose states are null ends its delivery; one that is not
-- to be applied only asks whether the lease is lost. Messages name the settlement that
-- they come of by its number, and are put if that was recorded.
CREATE FUNCTION {schema}.settle_v1(
    p_now bigint, p_forget bigint, p_apply boolean[], p_messages bigint[], p_destinations text[], p_tokens bigint[],
    p_states bytea[], p_at_once boolean[], p_due bigint[], p_warned boolean[], p_because bytea[],
    c_settlement int[], c_ids bigint[], c_tags int[], c_envelopes bytea[], c_envelope_sums int[], c_arrived bigint[],
    c_sizes bigint[], c_contents bytea[], c_content_sums int[], c_tenants bytea[], c_keys bytea[], c_once boolean[],
    c_priorities smallint[], c_at_once boolean[], c_due bigint[],
    c_of int[], c_destinations text[], c_states bytea[]
) RETURNS TABLE (settled int[], created int[], ids bigint[], tags int[]) LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    gone bigint[];
    good int[]; -- the settlements whose lease is not lost
    w int[];    -- of the messages to put
BEGIN
    -- With nothing to create, a crash may undo it within a second.
    IF cardinality(c_tags) = 0 THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    ELSE
        PERFORM {schema}.durable_v1();
    END IF;

    -- Messages come before deliveries, and each in order, so that no two calls wait for each other.
    PERFORM FROM {schema}.message m WHERE m.id = ANY (ARRAY(SELECT s.message FROM unnest(p_apply, p_messages, p_states)
        AS s (apply, message, states) WHERE s.apply AND s.states IS NULL)) ORDER BY m.id FOR UPDATE;
    SELECT coalesce(array_agg(l.n), '{}') INTO good FROM (
        SELECT s.n::int AS n FROM unnest(p_messages, p_destinations, p_tokens) WITH ORDINALITY AS s (message, destination, token, n)
        JOIN {schema}.delivery d ON d.destination = s.destination AND d.message = s.message AND d.token = s.token
        ORDER BY d.message, d.destination FOR UPDATE OF d) l;

    WITH s AS (SELECT p_messages[h.n] AS message, p_destinations[h.n] AS destination FROM unnest(good) AS h (n)
            WHERE p_apply[h.n] AND p_states[h.n] IS NULL),
        ended AS (DELETE FROM {schema}.delivery d USING s WHERE d.destination = s.destination AND d.message = s.message
            RETURNING d.message),
        counted AS (SELECT e.message, count(*)::int AS ended FROM ended e GROUP BY e.message),
        less AS (UPDATE {schema}.message m SET remaining = m.remaining - c.ended FROM counted c
            WHERE m.id = c.message AND m.remaining > c.ended)
    SELECT array_agg(m.id) INTO gone FROM counted c JOIN {schema}.message m ON m.id = c.message WHERE m.remaining <= c.ended;
    IF gone IS NOT NULL THEN
        PERFORM {schema}.remove_v1(gone, p_forget);
    END IF;

    WITH s AS (SELECT h.n FROM unnest(good) AS h (n) WHERE p_apply[h.n] AND p_states[h.n] IS NOT NULL),
        stays AS (UPDATE {schema}.delivery d SET states = p_states[s.n], at_once = p_at_once[s.n], due = p_due[s.n],
                ready = NOT d.held, token = NULL, until = NULL, marked = false, warned = d.warned OR p_warned[s.n],
                because = p_because[s.n]
            FROM s WHERE d.destination = p_destinations[s.n] AND d.message = p_messages[s.n]
            RETURNING d.destination, d.tenant, d.priority, d.at_once, d.due, d.ready)
    INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT at_once, {schema}.rank_v1(min(due), priority), min(due), destination, tenant, priority, at_once
        FROM stays WHERE ready GROUP BY destination, tenant, priority, at_once;

    settled := good;
    SELECT array_agg(c.n::int ORDER BY c.n) INTO w FROM unnest(c_settlement) WITH ORDINALITY AS c (s, n)
        WHERE p_apply[c.s] AND c.s = ANY (good);
    IF w IS NOT NULL THEN
        SELECT array_agg(w[p.n] ORDER BY p.n), array_agg(p.id ORDER BY p.n), array_agg(p.tag ORDER BY p.n)
            INTO created, ids, tags FROM {schema}.put_v1(false, p_now,
                ARRAY(SELECT c_ids[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_tags[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_envelopes[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_envelope_sums[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_arrived[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_sizes[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_contents[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_content_sums[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_tenants[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_keys[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_once[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_priorities[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_at_once[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT c_due[i] FROM unnest(w) WITH ORDINALITY AS x (i, o) ORDER BY o),
                ARRAY(SELECT coalesce(array_position(w, d.of), 0) FROM unnest(c_of) WITH ORDINALITY AS d (of, o) ORDER BY o),
                c_destinations, c_states) p;
    END IF;
    RETURN NEXT;
END $$;

-- Sets the ends of leases, and returns the numbers of those that are not lost.
CREATE FUNCTION {schema}.extend_v1(p_until bigint, p_messages bigint[], p_destinations text[], p_tokens bigint[])
    RETURNS int[] LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    good int[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT coalesce(array_agg(l.n), '{}') INTO good FROM (
        SELECT s.n::int AS n FROM unnest(p_messages, p_destinations, p_tokens) WITH ORDINALITY AS s (message, destination, token, n)
        JOIN {schema}.delivery d ON d.destination = s.destination AND d.message = s.message AND d.token = s.token
        ORDER BY d.message, d.destination FOR UPDATE OF d) l;
    UPDATE {schema}.delivery d SET until = p_until, ready = false FROM unnest(good) AS h (n)
        WHERE d.destination = p_destinations[h.n] AND d.message = p_messages[h.n];
    RETURN good;
END $$;

-- Marks deliveries as about to be sent, if they are to be sent at most once: all or, if a
-- lease is lost, none.
CREATE FUNCTION {schema}.mark_v1(p_messages bigint[], p_destinations text[], p_tokens bigint[])
    RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    good int[];
BEGIN
    SELECT coalesce(array_agg(l.n), '{}') INTO good FROM (
        SELECT s.n::int AS n FROM unnest(p_messages, p_destinations, p_tokens) WITH ORDINALITY AS s (message, destination, token, n)
        JOIN {schema}.delivery d ON d.destination = s.destination AND d.message = s.message AND d.token = s.token
        ORDER BY d.message, d.destination FOR UPDATE OF d) l;
    IF cardinality(good) < cardinality(p_messages) THEN
        RETURN false;
    END IF;
    PERFORM {schema}.durable_v1();
    UPDATE {schema}.delivery d SET marked = true FROM unnest(good) AS h (n), {schema}.message m
        WHERE d.destination = p_destinations[h.n] AND d.message = p_messages[h.n] AND m.id = d.message AND m.once AND NOT d.marked;
    RETURN true;
END $$;
