-- Claims.

-- Releases what was held until a time that has come.
CREATE FUNCTION {schema}.end_holds_v1(p_now bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.message m WHERE m.hold_until <= p_now) THEN
        RETURN;
    END IF;
    WITH over AS (SELECT m.id FROM {schema}.message m WHERE m.hold_until <= p_now ORDER BY m.hold_until LIMIT 1000
            FOR UPDATE SKIP LOCKED),
        freed AS (UPDATE {schema}.message m SET held = false, hold_since = NULL, hold_until = NULL, hold_reason = NULL
            FROM over WHERE m.id = over.id RETURNING m.id, m.destinations),
        ready AS (UPDATE {schema}.delivery d SET held = false, ready = (d.token IS NULL)
            FROM freed, unnest(freed.destinations) AS name WHERE d.destination = name AND d.message = freed.id
            RETURNING d.destination, d.tenant, d.priority, d.at_once, d.due, d.ready)
    INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT at_once, {schema}.rank_v1(min(due), priority), min(due), destination, tenant, priority, at_once
        FROM ready WHERE ready GROUP BY destination, tenant, priority, at_once;
END $$;

-- Makes deliveries ready whose leases have ended, and those not whose leases have not
-- ended after all, because a clock went back.
CREATE FUNCTION {schema}.end_leases_v1(p_now bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM {schema}.delivery d WHERE d.token IS NOT NULL AND NOT d.held AND NOT d.ready AND d.until <= p_now) THEN
        WITH over AS (SELECT d.destination, d.message FROM {schema}.delivery d
                WHERE d.token IS NOT NULL AND NOT d.held AND NOT d.ready AND d.until <= p_now
                ORDER BY d.until LIMIT 2000 FOR UPDATE SKIP LOCKED),
            ready AS (UPDATE {schema}.delivery d SET ready = true FROM over
                WHERE d.destination = over.destination AND d.message = over.message
                RETURNING d.destination, d.tenant, d.priority, d.at_once, d.due)
        INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT at_once, {schema}.rank_v1(min(due), priority), min(due), destination, tenant, priority, at_once
            FROM ready GROUP BY destination, tenant, priority, at_once;
    END IF;
    IF EXISTS (SELECT FROM {schema}.delivery d WHERE d.token IS NOT NULL AND NOT d.held AND d.ready AND d.until > p_now) THEN
        UPDATE {schema}.delivery d SET ready = false FROM (SELECT o.destination, o.message FROM {schema}.delivery o
                WHERE o.token IS NOT NULL AND NOT o.held AND o.ready AND o.until > p_now FOR UPDATE SKIP LOCKED) b
            WHERE d.destination = b.destination AND d.message = b.message;
    END IF;
END $$;

-- Finds the heads of what may wait no longer, and puts one in place of all that a lane has.
CREATE FUNCTION {schema}.ripen_v1(p_now bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.head h WHERE NOT h.ripe AND h.due <= p_now) THEN
        RETURN;
    END IF;
    WITH found AS (SELECT h.seq FROM {schema}.head h WHERE NOT h.ripe AND h.due <= p_now ORDER BY h.due LIMIT 5000
            FOR UPDATE SKIP LOCKED),
        gone AS (DELETE FROM {schema}.head h USING found WHERE h.seq = found.seq
            RETURNING h.destination, h.tenant, h.priority, h.due)
    INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT true, {schema}.rank_v1(min(due), priority), min(due), destination, tenant, priority, false
        FROM gone GROUP BY destination, tenant, priority;
END $$;

-- The lanes of some destinations that have something ready, without their heads.
CREATE FUNCTION {schema}.lanes_of_v1(p_destinations text[]) RETURNS TABLE (
    destination text, tenant bytea, priority smallint, at_once boolean, head bigint
) LANGUAGE sql STABLE SET enable_seqscan = off AS $$
    WITH RECURSIVE lane AS (
        (SELECT f.* FROM (SELECT DISTINCT unnest(p_destinations) COLLATE "C" AS name) x CROSS JOIN LATERAL (
            SELECT d.destination, d.tenant, d.priority, d.at_once, d.due FROM {schema}.delivery d
            WHERE d.ready AND d.destination = x.name
            ORDER BY d.tenant, d.priority, d.at_once, d.due LIMIT 1) f)
        UNION ALL
        SELECT f.* FROM lane l CROSS JOIN LATERAL (
            SELECT d.destination, d.tenant, d.priority, d.at_once, d.due FROM {schema}.delivery d
            WHERE d.ready AND d.destination = l.destination
                AND (d.tenant, d.priority, d.at_once) > (l.tenant, l.priority, l.at_once)
            ORDER BY d.tenant, d.priority, d.at_once, d.due LIMIT 1) f
    ) SELECT * FROM lane
$$;

-- Leases what is due. The first row that it returns has no message: its due is when
-- something may be due that is not yet, its more whether there is something to claim
-- already, its any_mail whether there is any mail.
CREATE FUNCTION {schema}.claim_v1(
    p_now bigint, p_until bigint, p_base bigint, p_max int, p_only text[], p_except text[], p_except_tenants bytea[],
    p_per_destination int, p_per_tenant int
) RETURNS TABLE (
    n int, message bigint, destination text, token bigint, due bigint, states bytea, warned boolean, marked boolean,
    tag int, size bigint, envelope bytea, envelope_sum int, more boolean, any_mail boolean
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    page int := least(2 * p_max + 200, 2000);
    pages int := 0;
    rank_at bigint := -9223372036854775808;
    seq_at bigint := 0;
    cut bigint := 9223372036854775807; -- the rank after which something else may come first
    p record;
    -- The lanes that are looked at, and the heads of them that this claim has in hand.
    l_destination text[] := '{}';
    l_tenant bytea[] := '{}';
    l_priority smallint[] := '{}';
    l_at_once boolean[] := '{}';
    l_due bigint[] := '{}';
    l_seq bigint[] := '{}';
    per_lane int;
    short boolean := false;
    c record;
    of_destination int[] := '{}';
    of_tenant int[] := '{}';
    t_destination text[] := '{}';
    t_message bigint[] := '{}';
    taken int := 0;
    got int := 0;
    left_out boolean := false;
    next_due bigint;
    next_here bigint;
    next_lease bigint;
    next_hold bigint;
    next_lift bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true); -- a claim that a crash undoes was none
    PERFORM {schema}.end_holds_v1(p_now);
    PERFORM {schema}.end_leases_v1(p_now);
    PERFORM {schema}.ripen_v1(p_now);

    IF p_only IS NOT NULL THEN
        -- A clock that went back may have left the head of such a lane among those that are ripe.
        SELECT array_agg(x.destination) FILTER (WHERE x.due), array_agg(x.tenant) FILTER (WHERE x.due),
            array_agg(x.priority) FILTER (WHERE x.due), array_agg(x.at_once) FILTER (WHERE x.due),
            array_agg(x.head) FILTER (WHERE x.due), min(x.head) FILTER (WHERE NOT x.due)
            INTO l_destination, l_tenant, l_priority, l_at_once, l_due, next_here
            FROM (SELECT o.*, o.at_once OR o.head <= p_now AS due FROM {schema}.lanes_of_v1(p_only) o) x
            WHERE x.destination NOT IN (SELECT unnest(p_except)) AND x.tenant NOT IN (SELECT unnest(p_except_tenants))
                AND NOT EXISTS (SELECT FROM {schema}.postponed o WHERE o.destination = x.destination AND o.until > p_now);
        SELECT min(o.until) INTO next_lift FROM {schema}.postponed o WHERE o.destination = ANY (p_only) AND o.until > p_now;
    ELSE
        LOOP
            WITH page_of AS MATERIALIZED (
                SELECT h.* FROM {schema}.head h WHERE h.ripe AND (h.rank, h.seq) > (rank_at, seq_at)
                ORDER BY h.rank, h.seq LIMIT page
            ), lane AS MATERIALIZED (
                SELECT g.*, o.until, g.destination NOT IN (SELECT unnest(p_except))
                    AND g.tenant NOT IN (SELECT unnest(p_except_tenants)) AS admitted
                FROM (SELECT r.destination, r.tenant, r.priority, r.at_once, count(*) AS heads
                    FROM page_of r GROUP BY r.destination, r.tenant, r.priority, r.at_once) g
                LEFT JOIN {schema}.postponed o ON o.destination = g.destination AND o.until > p_now
            ), locked AS MATERIALIZED (
                SELECT h.seq, h.rank, h.due, h.destination, h.tenant, h.priority, h.at_once FROM {schema}.head h
                WHERE h.seq IN (
                    SELECT r.seq FROM page_of r JOIN lane x ON x.destination = r.destination AND x.tenant = r.tenant
                        AND x.priority = r.priority AND x.at_once = r.at_once
                    WHERE x.heads > 1 OR x.admitted AND x.until IS NULL)
                FOR UPDATE SKIP LOCKED
            ), numbered AS (
                SELECT k.*, row_number() OVER (PARTITION BY k.destination, k.tenant, k.priority, k.at_once ORDER BY k.due, k.seq) AS n
                FROM locked k
            ), gone AS (
                DELETE FROM {schema}.head h USING numbered k WHERE h.seq = k.seq AND k.n > 1
            ), mine AS (
                SELECT x.*, k.due AS head, k.seq FROM lane x LEFT JOIN numbered k ON k.destination = x.destination
                    AND k.tenant = x.tenant AND k.priority = x.priority AND k.at_once = x.at_once AND k.n = 1
                WHERE x.admitted AND x.until IS NULL
            )
            SELECT (SELECT count(*) FROM page_of) AS heads,
                (SELECT ARRAY[r.rank, r.seq] FROM page_of r ORDER BY r.rank DESC, r.seq DESC LIMIT 1) AS last,
                (SELECT min(x.until) FROM lane x WHERE x.admitted) AS lift,
                (SELECT count(*) FROM mine m WHERE m.seq IS NULL) AS others,
                array_agg(m.destination) AS destinations, array_agg(m.tenant) AS tenants, array_agg(m.priority) AS priorities,
                array_agg(m.at_once) AS at_once, array_agg(m.head) AS due, array_agg(m.seq) AS seqs
            INTO p FROM mine m WHERE m.seq IS NOT NULL;
            EXIT WHEN p.heads = 0;
            next_lift := least(next_lift, p.lift);
            left_out := left_out OR p.others > 0;
            l_destination := l_destination || p.destinations;
            l_tenant := l_tenant || p.tenants;
            l_priority := l_priority || p.priorities;
            l_at_once := l_at_once || p.at_once;
            l_due := l_due || p.due;
            l_seq := l_seq || p.seqs;
            rank_at := p.last[1];
            seq_at := p.last[2];
            EXIT WHEN p.heads < page;
            pages := pages + 1;
            IF cardinality(l_seq) > p_max OR pages >= 50 THEN
                cut := rank_at;
                EXIT;
            END IF;
            page := least(2 * page, 5000);
        END LOOP;
    END IF;

    IF cardinality(l_destination) > 0 THEN
        per_lane := 1 + least(p_max, nullif(p_per_destination, 0), nullif(p_per_tenant, 0));
        -- No more is read than is worth it: what comes after the last row of a lane that was
        -- cut short is left to the next claim.
        IF per_lane > greatest((20 * p_max + 1000) / cardinality(l_destination), 2) THEN
            per_lane := greatest((20 * p_max + 1000) / cardinality(l_destination), 2);
            short := true;
        END IF;
        FOR c IN
            SELECT d.destination, d.message, d.rank,
                min(d.rank) FILTER (WHERE short AND d.k = per_lane) OVER () AS cut,
                CASE WHEN p_per_destination > 0 THEN dense_rank() OVER (ORDER BY d.destination) ELSE 0 END AS of_destination,
                CASE WHEN p_per_tenant > 0 THEN dense_rank() OVER (ORDER BY d.tenant) ELSE 0 END AS of_tenant
            FROM (
                SELECT x.destination, x.tenant, x.priority, x.at_once, min(x.head) AS head
                FROM unnest(l_destination, l_tenant, l_priority, l_at_once, l_due) AS x (destination, tenant, priority, at_once, head)
                GROUP BY x.destination, x.tenant, x.priority, x.at_once
            ) x CROSS JOIN LATERAL (
                SELECT o.destination, o.tenant, o.message, {schema}.rank_v1(o.due, o.priority) AS rank,
                    row_number() OVER (ORDER BY o.due, o.message) AS k
                FROM {schema}.delivery o
                WHERE o.ready AND o.destination = x.destination AND o.tenant = x.tenant AND o.priority = x.priority
                    AND o.at_once = x.at_once AND o.due >= x.head
                    AND o.due <= CASE WHEN x.at_once THEN 9223372036854775807 ELSE p_now END
                ORDER BY o.due, o.message LIMIT per_lane
            ) d
            ORDER BY d.rank, d.message, d.destination COLLATE "C"
        LOOP
            IF taken = p_max OR c.rank > least(cut, c.cut) THEN
                left_out := true;
                EXIT;
            END IF;
            IF p_per_destination > 0 THEN
                IF coalesce(of_destination[c.of_destination], 0) >= p_per_destination THEN
                    left_out := true;
                    CONTINUE;
                END IF;
            END IF;
            IF p_per_tenant > 0 THEN
                IF coalesce(of_tenant[c.of_tenant], 0) >= p_per_tenant THEN
                    left_out := true;
                    CONTINUE;
                END IF;
                of_tenant[c.of_tenant] := coalesce(of_tenant[c.of_tenant], 0) + 1;
            END IF;
            IF p_per_destination > 0 THEN
                of_destination[c.of_destination] := coalesce(of_destination[c.of_destination], 0) + 1;
            END IF;
            taken := taken + 1;
            t_destination[taken] := c.destination;
            t_message[taken] := c.message;
        END LOOP;
    END IF;
    left_out := left_out OR cut < 9223372036854775807;

    IF taken > 0 THEN
        RETURN QUERY
            UPDATE {schema}.delivery d SET ready = false, token = p_base + x.n, until = p_until
            FROM (
                SELECT k.*, row_number() OVER (PARTITION BY k.message ORDER BY k.n) = 1 AS first
                FROM (
                    SELECT o.destination, o.message, t.n FROM unnest(t_destination, t_message) WITH ORDINALITY AS t (destination, message, n)
                    JOIN {schema}.delivery o ON o.destination = t.destination AND o.message = t.message
                    WHERE o.ready FOR UPDATE OF o SKIP LOCKED
                ) k
            ) x JOIN {schema}.message m ON m.id = x.message
            WHERE d.destination = x.destination AND d.message = x.message
            RETURNING x.n::int, d.message, d.destination::text, d.token, d.due, d.states, d.warned, d.marked,
                m.tag, m.size, CASE WHEN x.first THEN m.envelope END, m.envelope_sum, false, true;
        GET DIAGNOSTICS got = ROW_COUNT;
        left_out := left_out OR got < taken;
    END IF;

    -- One head for each lane that was looked at, as late as it may be, and none for an
    -- empty one. What is put meanwhile brings a head of its own. A head that is a little
    -- early is left as it is, unless such heads have hidden everything.
    IF cardinality(l_seq) > 0 THEN
        WITH lane AS (
            SELECT x.destination, x.tenant, x.priority, x.at_once, min(x.due) AS head, array_agg(x.seq ORDER BY x.due, x.seq) AS seqs
            FROM unnest(l_destination, l_tenant, l_priority, l_at_once, l_due, l_seq) AS x (destination, tenant, priority, at_once, due, seq)
            GROUP BY x.destination, x.tenant, x.priority, x.at_once
        ), looked AS MATERIALIZED (
            SELECT x.*, (SELECT o.due FROM {schema}.delivery o
                WHERE o.ready AND o.destination = x.destination AND o.tenant = x.tenant AND o.priority = x.priority
                    AND o.at_once = x.at_once AND o.due >= x.head
                ORDER BY o.due LIMIT 1) AS first
            FROM lane x
        ), gone AS (
            DELETE FROM {schema}.head h USING (
                SELECT unnest(x.seqs[2:]) AS seq FROM looked x UNION ALL SELECT x.seqs[1] FROM looked x WHERE x.first IS NULL) o
            WHERE h.seq = o.seq
        )
        UPDATE {schema}.head h SET due = x.first, rank = {schema}.rank_v1(x.first, x.priority), ripe = x.at_once OR x.first <= p_now
        FROM looked x WHERE h.seq = x.seqs[1] AND x.first IS NOT NULL
            AND (x.first > h.due + CASE WHEN taken > 0 THEN 1000000 ELSE 0 END OR NOT x.at_once AND x.first > p_now);
    END IF;

    n := 0;
    next_due := (SELECT h.due FROM {schema}.head h WHERE NOT h.ripe ORDER BY h.due LIMIT 1);
    next_lease := (SELECT d.until FROM {schema}.delivery d WHERE d.token IS NOT NULL AND NOT d.held AND NOT d.ready ORDER BY d.until LIMIT 1);
    next_hold := (SELECT m.hold_until FROM {schema}.message m WHERE m.hold_until IS NOT NULL ORDER BY m.hold_until LIMIT 1);
    any_mail := next_lease IS NOT NULL OR next_hold IS NOT NULL OR EXISTS (SELECT FROM {schema}.message m ORDER BY m.id DESC LIMIT 1);
    message := NULL;
    due := least(next_due, next_here, next_lease, next_hold, next_lift);
    more := left_out OR coalesce(least(next_due, next_lease, next_hold) <= p_now, false);
    RETURN NEXT;
END $$;

-- Leases the deliveries of a message, due or not, but for those that somebody has leased.
-- Those have no token in what it returns.
CREATE FUNCTION {schema}.take_v1(
    p_now bigint, p_until bigint, p_base bigint, p_message bigint, p_tag int, p_only text[]
) RETURNS TABLE (
    n int, message bigint, destination text, token bigint, due bigint, states bytea, warned boolean, marked boolean,
    tag int, size bigint, envelope bytea, envelope_sum int
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    m record;
    d record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO m FROM {schema}.message o WHERE o.id = p_message AND o.tag = p_tag FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    n := 0;
    tag := m.tag;
    size := m.size;
    envelope := m.envelope;
    envelope_sum := m.envelope_sum;
    RETURN NEXT;
    envelope := NULL;
    FOR d IN SELECT o.* FROM unnest(m.destinations) AS name JOIN {schema}.delivery o ON o.destination = name AND o.message = p_message
        WHERE p_only IS NULL OR o.destination = ANY (p_only)
        ORDER BY o.destination FOR UPDATE OF o
    LOOP
        n := n + 1;
        message := d.message;
        destination := d.destination;
        due := d.due;
        states := d.states;
        warned := d.warned;
        marked := d.marked;
        token := NULL;
        IF d.token IS NULL OR d.until <= p_now THEN
            token := p_base + n;
            UPDATE {schema}.delivery o SET ready = false, token = take_v1.token, until = p_until
                WHERE o.destination = d.destination AND o.message = d.message;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
