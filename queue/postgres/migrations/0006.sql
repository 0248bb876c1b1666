-- Claims that do not walk over what has left. While some transaction in the cluster is
-- open for long, the rows that others delete stay where they are, those of heads at the
-- very place where claims look first. So a claimer keeps in its memory which heads there
-- are, and asks for those that have come since: they are found by the transactions that
-- brought them, which are new or were under way at the claim before.

ALTER TABLE {schema}.head ADD COLUMN xid bigint NOT NULL DEFAULT txid_current();
ALTER TABLE {schema}.head DROP CONSTRAINT head_pkey;
ALTER TABLE {schema}.head ADD PRIMARY KEY (xid, seq);
CREATE TYPE {schema}.head_v1 AS (
    at tid, xid bigint, seq bigint, ripe boolean, rank bigint, due bigint, destination text, tenant bytea, priority smallint, at_once boolean
);

-- The heads that some transactions brought: those from one on, and some others.
CREATE FUNCTION {schema}.heads_v1(p_from bigint, p_others bigint[], p_limit int) RETURNS {schema}.head_v1[] LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT coalesce(array_agg((h.ctid, h.xid, h.seq, h.ripe, h.rank, h.due, h.destination, h.tenant, h.priority, h.at_once)::{schema}.head_v1), '{}')
        FROM (
            SELECT o.ctid, o.* FROM {schema}.head o WHERE o.xid >= p_from
            UNION ALL SELECT h.* FROM unnest(p_others) AS x (xid) CROSS JOIN LATERAL (
                SELECT o.ctid, o.* FROM {schema}.head o WHERE o.xid = x.xid OFFSET 0) h
            LIMIT p_limit
        ) h);
END $$;

-- A lane whose destination is postponed has a head that is not ripe before the end of
-- that. Its rank still says since when the lane is due. Who shortens or lifts a
-- postponement brings new heads.
CREATE FUNCTION {schema}.lifted_v1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    names text[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT array_agg(g.destination) INTO names FROM gone g;
    ELSE
        SELECT array_agg(g.destination) INTO names FROM gone g JOIN come c ON c.destination = g.destination WHERE c.until < g.until;
    END IF;
    IF names IS NOT NULL THEN
        INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT x.at_once, {schema}.rank_v1(x.head, x.priority), x.head, x.destination, x.tenant, x.priority, x.at_once
            FROM {schema}.lanes_of_v1(names) x;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER lifted AFTER DELETE ON {schema}.postponed REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.lifted_v1();
CREATE TRIGGER shortened AFTER UPDATE ON {schema}.postponed REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.lifted_v1();

-- Finds the heads of what may wait no longer, none of them before a time, and puts one in
-- place of all that a lane has. It returns whether that were all.
CREATE FUNCTION {schema}.ripen_v2(p_now bigint, p_from bigint) RETURNS boolean LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    found int;
BEGIN
    WITH ready AS (SELECT h.ctid AS at FROM {schema}.head h WHERE NOT h.ripe AND h.due >= p_from AND h.due <= p_now
            ORDER BY h.due LIMIT 5000 FOR UPDATE SKIP LOCKED),
        gone AS (DELETE FROM {schema}.head h WHERE h.ctid = ANY (ARRAY(SELECT r.at FROM ready r))
            RETURNING h.destination, h.tenant, h.priority, h.at_once, h.rank),
        put AS (INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT true, min(rank), min(rank) + priority * 600000000::bigint, destination, tenant, priority, at_once
            FROM gone GROUP BY destination, tenant, priority, at_once)
    SELECT count(*) INTO found FROM ready;
    RETURN found < 5000;
END $$;

-- For claims of the first version, which are made beside those of the second.
CREATE OR REPLACE FUNCTION {schema}.ripen_v1(p_now bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    PERFORM {schema}.ripen_v2(p_now, -9223372036854775808);
END $$;

-- Makes deliveries ready whose leases have ended, none of them before a time, and those
-- not whose leases have not ended after all, because a clock went back.
CREATE FUNCTION {schema}.end_leases_v2(p_now bigint, p_from bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM {schema}.delivery d
        WHERE d.token IS NOT NULL AND NOT d.held AND NOT d.ready AND d.until >= p_from AND d.until <= p_now) THEN
        WITH over AS (SELECT d.ctid AS at FROM {schema}.delivery d
                WHERE d.token IS NOT NULL AND NOT d.held AND NOT d.ready AND d.until >= p_from AND d.until <= p_now
                ORDER BY d.until LIMIT 2000 FOR UPDATE SKIP LOCKED),
            ready AS (UPDATE {schema}.delivery d SET ready = true FROM over WHERE d.ctid = over.at
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

-- A release says so of what is leased: the lease may have ended.
CREATE OR REPLACE FUNCTION {schema}.hold_v1(p_message bigint, p_tag int, p_held boolean, p_since bigint, p_until bigint, p_reason bytea)
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
            RETURNING d.destination, d.tenant, d.priority, d.at_once, d.due, d.ready, d.until),
        lapses AS (INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT false, min(until), 9223372036854775807, '', '', -32768, false FROM changed WHERE NOT p_held AND NOT ready HAVING count(*) > 0)
    INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT at_once, {schema}.rank_v1(due, priority), due, destination, tenant, priority, at_once FROM changed WHERE ready;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION {schema}.end_holds_v1(p_now bigint) RETURNS void LANGUAGE plpgsql
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
            RETURNING d.destination, d.tenant, d.priority, d.at_once, d.due, d.ready, d.until),
        lapses AS (INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT false, min(until), 9223372036854775807, '', '', -32768, false FROM ready WHERE NOT ready.ready HAVING count(*) > 0)
    INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT at_once, {schema}.rank_v1(min(due), priority), min(due), destination, tenant, priority, at_once
        FROM ready WHERE ready.ready GROUP BY destination, tenant, priority, at_once;
END $$;

-- Says when a lease of less than two minutes ends, to those who would look for that
-- later: by a head of no lane, with that time as its rank, that never ripens.
CREATE FUNCTION {schema}.lapse_v1(p_now bigint, p_until bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_until < p_now + 120000000 THEN
        INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once) VALUES (false, p_until, 9223372036854775807, '', '', -32768, false);
    END IF;
END $$;

-- Extends leases as extend_v1 does.
CREATE FUNCTION {schema}.extend_v2(p_now bigint, p_until bigint, p_messages bigint[], p_destinations text[], p_tokens bigint[])
    RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    good int[] := {schema}.extend_v1(p_until, p_messages, p_destinations, p_tokens);
BEGIN
    IF cardinality(good) > 0 THEN
        PERFORM {schema}.lapse_v1(p_now, p_until);
    END IF;
    RETURN good;
END $$;

-- Leases deliveries that are ready, and that nobody else has in hand.
CREATE FUNCTION {schema}.lease_v1(p_until bigint, p_base bigint, p_destinations text[], p_messages bigint[]) RETURNS TABLE (
    n int, message bigint, destination text, token bigint, due bigint, states bytea, warned boolean, marked boolean,
    tag int, size bigint, envelope bytea, envelope_sum int
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        UPDATE {schema}.delivery d SET ready = false, token = p_base + x.n, until = p_until
        FROM (
            SELECT o.at, o.message, t.n, row_number() OVER (PARTITION BY o.message ORDER BY t.n) = 1 AS first
            FROM unnest(p_destinations, p_messages) WITH ORDINALITY AS t (destination, message, n)
            CROSS JOIN LATERAL (SELECT o.ctid AS at, o.message, o.ready FROM {schema}.delivery o
                WHERE o.destination = t.destination AND o.message = t.message OFFSET 0 FOR UPDATE SKIP LOCKED) o
            WHERE o.ready
        ) x CROSS JOIN LATERAL (SELECT o.tag, o.size, o.envelope, o.envelope_sum FROM {schema}.message o WHERE o.id = x.message OFFSET 0) m
        WHERE d.ctid = x.at
        RETURNING x.n::int, d.message, d.destination::text, d.token, d.due, d.states, d.warned, d.marked,
            m.tag, m.size, CASE WHEN x.first THEN m.envelope END, m.envelope_sum;
END $$;

-- Leases what is due. What the claimer remembers goes in: the snapshot of the claim before
-- (p_xmax, p_xip; null if nothing is remembered), the heads that are to be looked at
-- (p_xids, p_seqs), up to where all ripe heads are known (p_rank, p_seq), the rank of the
-- first head that is known and not looked at (p_cut), times before which no head ripens
-- and no lease ends (p_later, p_lease), and one before which no lease of the usual length
-- does (p_lease_next). With p_page, so many heads after the known
-- are looked at.
--
-- The first row that it returns has no message. It says what to remember: the snapshot,
-- the heads that were looked at and stay (heads), up to where all are known now, and the
-- times. Its due is when something may be due that is not yet, its more whether there is
-- something to claim already, its any_mail whether there is any mail.
CREATE FUNCTION {schema}.claim_v2(
    p_now bigint, p_until bigint, p_base bigint, p_max int, p_only text[], p_except text[], p_except_tenants bytea[],
    p_per_destination int, p_per_tenant int, p_lanes boolean, p_waits boolean,
    p_xmax bigint, p_xip bigint[], p_xids bigint[], p_seqs bigint[], p_rank bigint, p_seq bigint, p_page int, p_cut bigint,
    p_later bigint, p_lease bigint, p_lease_next bigint
) RETURNS TABLE (
    n int, message bigint, destination text, token bigint, due bigint, states bytea, warned boolean, marked boolean,
    tag int, size bigint, envelope bytea, envelope_sum int, more boolean, any_mail boolean,
    anew boolean, xmax_ bigint, xip bigint[], rank bigint, seq bigint, later bigint, lease bigint, lease_next bigint,
    h_xid bigint[], h_seq bigint[], h_rank bigint[], h_destination text[], h_tenant bytea[], h_priority smallint[], h_at_once boolean[]
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    least_ bigint := -9223372036854775808;
    most bigint := 9223372036854775807;
    snap txid_snapshot := txid_current_snapshot(); -- of a statement before all that is looked at
    ripened boolean := true;
    known boolean; -- that anything is remembered
    fresh {schema}.head_v1[] := '{}'; -- heads that are not known yet
    mine {schema}.head_v1[];          -- those of this transaction
    page {schema}.head_v1[] := '{}';  -- those that come after the known
    look {schema}.head_v1[];          -- those that are looked at
    first_later bigint;
    cut bigint := coalesce(p_cut, most); -- the rank after which something else may come first
    p record;
    -- The lanes that are looked at, and the heads of them that this claim has in hand.
    l_destination text[] := '{}';
    l_tenant bytea[] := '{}';
    l_priority smallint[] := '{}';
    l_at_once boolean[] := '{}';
    l_due bigint[] := '{}';
    l_at tid[] := '{}';
    gone tid[] := '{}'; -- heads that were removed
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
    next_here bigint;
    next_lease bigint;
    lease_from bigint;
    next_hold bigint;
    next_lift bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true); -- a claim that a crash undoes was none
    PERFORM {schema}.end_holds_v1(p_now);

    -- What has come since the claim before. If the snapshot is older than that, it is of
    -- another server. If there is very much, it is looked at in order.
    known := coalesce(txid_snapshot_xmax(snap) >= p_xmax, false);
    IF known THEN
        fresh := {schema}.heads_v1(p_xmax, p_xip, 5000);
        known := cardinality(fresh) < 5000;
    END IF;
    IF NOT known THEN
        fresh := '{}';
        p_xids := '{}';
        p_seqs := '{}';
        p_rank := least_;
        p_seq := 0;
        p_page := greatest(p_page, least(2 * p_max + 200, 2000));
        cut := most;
        p_lanes := p_only IS NOT NULL;
    END IF;

    -- Which leases end. A lease that ended while its message was on hold ends with that,
    -- which brings a head.
    -- Which leases end. Those that ended while their message was on hold, and those of
    -- less than two minutes, have brought heads: the others end later than in a minute.
    lease_from := CASE WHEN known THEN coalesce((SELECT min(f.rank) FROM unnest(fresh) f WHERE f.priority = -32768), most) ELSE least_ END;
    lease := CASE WHEN known THEN least(coalesce(p_lease, least_), lease_from) ELSE least_ END;
    IF lease <= p_now THEN
        PERFORM {schema}.end_leases_v2(p_now, lease);
        lease := least(p_now + 60000000, (SELECT d.until FROM {schema}.delivery d WHERE d.token IS NOT NULL AND NOT d.held AND NOT d.ready
            AND d.until >= lease AND d.until <= p_now + 60000000 ORDER BY d.until LIMIT 1));
    END IF;
    mine := {schema}.heads_v1(txid_current_if_assigned(), NULL, NULL);

    -- What ripens, and when the next does.
    first_later := CASE WHEN known THEN least(p_later, (SELECT min(f.due) FROM unnest(fresh || mine) f WHERE NOT f.ripe)) ELSE least_ END;
    IF first_later <= p_now THEN
        ripened := {schema}.ripen_v2(p_now, first_later);
        mine := {schema}.heads_v1(txid_current_if_assigned(), NULL, NULL);
        first_later := coalesce((SELECT h.due FROM {schema}.head h WHERE NOT h.ripe AND h.due >= first_later ORDER BY h.due LIMIT 1), most);
    END IF;
    fresh := ARRAY(SELECT f FROM unnest(fresh || mine) f WHERE f.ripe);

    IF p_page > 0 AND p_rank < most THEN
        SELECT coalesce(array_agg((h.at, h.xid, h.seq, h.ripe, h.rank, h.due, h.destination, h.tenant, h.priority, h.at_once)::{schema}.head_v1
                ORDER BY h.rank, h.seq), '{}') INTO page FROM (
            SELECT o.ctid AS at, o.* FROM {schema}.head o WHERE o.ripe AND (o.rank, o.seq) > (p_rank, p_seq)
            ORDER BY o.rank, o.seq LIMIT p_page) h;
    END IF;
    IF p_lanes THEN
        look := page; -- to be remembered
        -- A clock that went back may have left the head of such a lane among those that are ripe.
        SELECT array_agg(x.destination) FILTER (WHERE x.due), array_agg(x.tenant) FILTER (WHERE x.due),
            array_agg(x.priority) FILTER (WHERE x.due), array_agg(x.at_once) FILTER (WHERE x.due),
            array_agg(x.head) FILTER (WHERE x.due), min(x.head) FILTER (WHERE NOT x.due)
            INTO l_destination, l_tenant, l_priority, l_at_once, l_due, next_here
            FROM (SELECT o.*, o.at_once OR o.head <= p_now AS due FROM {schema}.lanes_of_v1(p_only) o) x
            WHERE x.destination NOT IN (SELECT unnest(p_except)) AND x.tenant NOT IN (SELECT unnest(p_except_tenants))
                AND NOT EXISTS (SELECT FROM {schema}.postponed o WHERE o.destination = x.destination AND o.until > p_now);
        next_lift := (SELECT min(o.until) FROM {schema}.postponed o WHERE o.destination = ANY (p_only) AND o.until > p_now);
    ELSE
        WITH look AS MATERIALIZED (
            SELECT DISTINCT ON (h.seq) h.* FROM (
                SELECT h.* FROM unnest(p_xids, p_seqs) AS k (xid, seq) CROSS JOIN LATERAL (
                    SELECT o.ctid AS at, o.xid, o.seq, o.ripe, o.rank, o.due, o.destination, o.tenant, o.priority, o.at_once
                    FROM {schema}.head o WHERE o.xid = k.xid AND o.seq = k.seq AND o.ripe OFFSET 0) h
                UNION ALL SELECT * FROM unnest(fresh) f WHERE (f.rank, f.seq) <= (p_rank, p_seq)
                    AND (p_only IS NULL OR f.destination = ANY (p_only))
                UNION ALL SELECT * FROM unnest(page)
            ) h
        ), lane AS MATERIALIZED (
            SELECT g.*, o.until, g.destination NOT IN (SELECT unnest(p_except))
                AND g.tenant NOT IN (SELECT unnest(p_except_tenants)) AS admitted
            FROM (SELECT r.destination, r.tenant, r.priority, r.at_once, count(*) AS heads
                FROM look r GROUP BY r.destination, r.tenant, r.priority, r.at_once) g
            LEFT JOIN {schema}.postponed o ON o.destination = g.destination AND o.until > p_now
        ), locked AS MATERIALIZED (
            SELECT h.ctid AS at, h.* FROM {schema}.head h
            WHERE h.ctid = ANY (ARRAY(
                SELECT r.at FROM look r JOIN lane x ON x.destination = r.destination AND x.tenant = r.tenant
                    AND x.priority = r.priority AND x.at_once = r.at_once
                WHERE x.heads > 1 OR x.admitted OR x.until IS NOT NULL))
            FOR UPDATE SKIP LOCKED
        ), numbered AS MATERIALIZED (
            SELECT k.at, k.due, k.destination, k.tenant, k.priority, k.at_once, x.until, x.admitted, min(k.rank) OVER lane AS lane_rank,
                row_number() OVER (lane ORDER BY k.due, k.at) AS n
            FROM locked k JOIN lane x ON x.destination = k.destination AND x.tenant = k.tenant
                AND x.priority = k.priority AND x.at_once = k.at_once
            WHERE k.ripe
            WINDOW lane AS (PARTITION BY k.destination, k.tenant, k.priority, k.at_once)
        ), gone AS (
            DELETE FROM {schema}.head h WHERE h.ctid = ANY (ARRAY(SELECT k.at FROM numbered k WHERE k.n > 1 OR k.until IS NOT NULL))
        ), sleep AS (
            INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT false, k.lane_rank, k.until, k.destination, k.tenant, k.priority, k.at_once FROM numbered k
            WHERE k.n = 1 AND k.until IS NOT NULL
            RETURNING due
        )
        SELECT (SELECT array_agg((l.at, l.xid, l.seq, l.ripe, l.rank, l.due, l.destination, l.tenant, l.priority, l.at_once)::{schema}.head_v1)
                FROM look l) AS look,
            (SELECT array_agg(k.at) FROM numbered k WHERE k.n > 1 OR k.until IS NOT NULL) AS gone,
            (SELECT min(s.due) FROM sleep s) AS later,
            (SELECT count(*) FROM lane x WHERE x.admitted AND x.until IS NULL)
                - (SELECT count(*) FROM numbered k WHERE k.n = 1 AND k.admitted AND k.until IS NULL) AS others,
            array_agg(m.destination) AS destinations, array_agg(m.tenant) AS tenants, array_agg(m.priority) AS priorities,
            array_agg(m.at_once) AS at_once, array_agg(m.due) AS due, array_agg(m.at) AS at
        INTO p FROM numbered m WHERE m.n = 1 AND m.admitted AND m.until IS NULL;
        look := coalesce(p.look, '{}');
        gone := coalesce(p.gone, '{}');
        first_later := least(first_later, p.later);
        left_out := p.others > 0;
        l_destination := p.destinations;
        l_tenant := p.tenants;
        l_priority := p.priorities;
        l_at_once := p.at_once;
        l_due := p.due;
        l_at := p.at;
    END IF;
    IF p_page > 0 AND p_rank < most THEN
        IF cardinality(page) < p_page THEN
            p_rank := most;
            p_seq := most;
        ELSE
            p_rank := page[p_page].rank;
            p_seq := page[p_page].seq;
            cut := CASE WHEN p_lanes THEN cut ELSE least(cut, p_rank) END;
        END IF;
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
        PERFORM {schema}.lapse_v1(p_now, p_until);
        RETURN QUERY
            SELECT l.n, l.message, l.destination, l.token, l.due, l.states, l.warned, l.marked, l.tag, l.size, l.envelope, l.envelope_sum,
                false, true,
                NULL::boolean, NULL::bigint, NULL::bigint[], NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
                NULL::bigint[], NULL::bigint[], NULL::bigint[], NULL::text[], NULL::bytea[], NULL::smallint[], NULL::boolean[]
            FROM {schema}.lease_v1(p_until, p_base, t_destination, t_message) l;
        GET DIAGNOSTICS got = ROW_COUNT;
        left_out := left_out OR got < taken;
    END IF;

    -- One head for each lane that was looked at, as late as it may be, and none for an
    -- empty one. What is put meanwhile brings a head of its own. A head that is a little
    -- early is left as it is, unless such heads have hidden everything. Others are not
    -- changed but replaced, so that who looks for one does not meet all that it was before.
    IF cardinality(l_at) > 0 THEN
        WITH looked AS MATERIALIZED (
            SELECT x.*, f.due AS first
            FROM unnest(l_destination, l_tenant, l_priority, l_at_once, l_due, l_at) AS x (destination, tenant, priority, at_once, head, at)
            LEFT JOIN LATERAL (SELECT o.due FROM {schema}.delivery o
                WHERE o.ready AND o.destination = x.destination AND o.tenant = x.tenant AND o.priority = x.priority
                    AND o.at_once = x.at_once AND o.due >= x.head
                ORDER BY o.due LIMIT 1) f ON true
        ), wrong AS MATERIALIZED (
            SELECT x.* FROM looked x WHERE x.first IS NULL OR x.first > x.head + CASE WHEN taken > 0 THEN 1000000 ELSE 0 END
                OR NOT x.at_once AND x.first > p_now
        ), gone AS (
            DELETE FROM {schema}.head h WHERE h.ctid = ANY (ARRAY(SELECT x.at FROM wrong x))
        ), put AS (
            INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT x.at_once OR x.first <= p_now, {schema}.rank_v1(x.first, x.priority), x.first, x.destination, x.tenant, x.priority, x.at_once
            FROM wrong x WHERE x.first IS NOT NULL
        )
        SELECT gone || array_agg(x.at), least(first_later, min(x.first) FILTER (WHERE NOT x.at_once AND x.first > p_now))
            INTO gone, first_later FROM wrong x;
    END IF;

    next_lease := (SELECT d.until FROM {schema}.delivery d WHERE d.token IS NOT NULL AND NOT d.held AND NOT d.ready
        AND d.until >= CASE WHEN known THEN least(coalesce(p_lease_next, least_), lease_from, p_until) ELSE least_ END
        ORDER BY d.until LIMIT 1);
    next_hold := (SELECT m.hold_until FROM {schema}.message m WHERE m.hold_until IS NOT NULL ORDER BY m.hold_until LIMIT 1);

    n := 0;
    message := NULL;
    due := least(nullif(first_later, most), next_here, next_lease, next_hold, next_lift);
    any_mail := next_lease IS NOT NULL OR next_hold IS NOT NULL OR got > 0;
    IF NOT any_mail AND (due IS NOT NULL OR p_waits) THEN
        any_mail := EXISTS (SELECT FROM {schema}.message m ORDER BY m.id DESC LIMIT 1);
    END IF;
    more := left_out OR NOT ripened OR coalesce(least(first_later, next_lease, next_hold) <= p_now, false);
    lease_next := least(next_lease, p_until);
    later := first_later;
    anew := NOT known;
    xmax_ := txid_snapshot_xmax(snap);
    xip := ARRAY(SELECT txid_snapshot_xip(snap));
    IF txid_current_if_assigned() < xmax_ THEN
        xip := xip || txid_current_if_assigned();
    END IF;
    rank := p_rank;
    seq := p_seq;
    SELECT array_agg(h.xid), array_agg(h.seq), array_agg(h.rank), array_agg(h.destination), array_agg(h.tenant), array_agg(h.priority),
            array_agg(h.at_once)
        INTO h_xid, h_seq, h_rank, h_destination, h_tenant, h_priority, h_at_once
        FROM (SELECT l.* FROM unnest(look) l UNION SELECT f.* FROM unnest(fresh) f) h
        WHERE h.at NOT IN (SELECT unnest(gone));
    RETURN NEXT;
END $$;

-- Leases the deliveries of a message, due or not, but for those that somebody has leased.
-- Those have no token in what it returns.
CREATE OR REPLACE FUNCTION {schema}.take_v1(
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
            PERFORM {schema}.lapse_v1(p_now, p_until);
            UPDATE {schema}.delivery o SET ready = false, token = take_v1.token, until = p_until
                WHERE o.destination = d.destination AND o.message = d.message;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- Forgets what is over, a part of it at a time: uploads that nobody goes on with, and keys.
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
        WHERE NOT o.ripe AND o.due = 9223372036854775807 AND o.rank <= p_now LIMIT 5000 FOR UPDATE SKIP LOCKED));
    RETURN done + n;
END $$;

-- The functions of the first versions that change what is leased, with statements that
-- find each row by its key whatever the planner thinks of the tables: while nothing can be
-- removed from them, it takes them for almost empty, and reads all that was ever there.
CREATE OR REPLACE FUNCTION {schema}.remove_v1(p_ids bigint[], p_forget bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    pieces bigint[];
    keys tid[];
BEGIN
    WITH gone AS (DELETE FROM {schema}.message m WHERE m.ctid = ANY (ARRAY(SELECT o.at FROM unnest(p_ids) AS g (id) CROSS JOIN LATERAL (
                SELECT o.ctid AS at FROM {schema}.message o WHERE o.id = g.id OFFSET 0) o))
            RETURNING m.id, m.tenant, m.key, m.content IS NULL AS pieces)
    SELECT array_agg(g.id) FILTER (WHERE g.pieces),
            array_agg((SELECT k.ctid FROM {schema}.key k WHERE k.tenant = g.tenant AND k.key = g.key AND k.message = g.id))
                FILTER (WHERE g.key IS NOT NULL)
        INTO pieces, keys FROM gone g;
    IF pieces IS NOT NULL THEN
        DELETE FROM {schema}.content c WHERE c.message = ANY (pieces);
    END IF;
    IF keys IS NOT NULL AND p_forget IS NOT NULL THEN
        UPDATE {schema}.key k SET until = p_forget WHERE k.ctid = ANY (keys);
    ELSIF keys IS NOT NULL THEN
        DELETE FROM {schema}.key k WHERE k.ctid = ANY (keys);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION {schema}.extend_v1(p_until bigint, p_messages bigint[], p_destinations text[], p_tokens bigint[])
    RETURNS int[] LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    good int[];
    at tid[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT coalesce(array_agg(s.n), '{}'), array_agg(d.at) INTO good, at FROM (
        SELECT s.* FROM unnest(p_messages, p_destinations, p_tokens) WITH ORDINALITY AS s (message, destination, token, n)
        ORDER BY s.message, s.destination) s
    CROSS JOIN LATERAL (SELECT d.ctid AS at FROM {schema}.delivery d
        WHERE d.destination = s.destination AND d.message = s.message AND d.token = s.token OFFSET 0 FOR UPDATE) d;
    UPDATE {schema}.delivery d SET until = p_until, ready = false WHERE d.ctid = ANY (at);
    RETURN good;
END $$;

CREATE OR REPLACE FUNCTION {schema}.mark_v1(p_messages bigint[], p_destinations text[], p_tokens bigint[])
    RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    good int[];
    at tid[];
BEGIN
    SELECT coalesce(array_agg(s.n), '{}'), array_agg(d.at) INTO good, at FROM (
        SELECT s.* FROM unnest(p_messages, p_destinations, p_tokens) WITH ORDINALITY AS s (message, destination, token, n)
        ORDER BY s.message, s.destination) s
    CROSS JOIN LATERAL (SELECT d.ctid AS at FROM {schema}.delivery d
        WHERE d.destination = s.destination AND d.message = s.message AND d.token = s.token OFFSET 0 FOR UPDATE) d;
    IF cardinality(good) < cardinality(p_messages) THEN
        RETURN false;
    END IF;
    PERFORM {schema}.durable_v1();
    UPDATE {schema}.delivery d SET marked = true WHERE d.ctid = ANY (at) AND NOT d.marked
        AND (SELECT m.once FROM {schema}.message m WHERE m.id = d.message);
    RETURN true;
END $$;

-- Settles a batch. A settlement whose states are null ends its delivery; one that is not
-- to be applied only asks whether the lease is lost. Messages name the settlement that
-- they come of by its number, and are put if that was recorded.
CREATE OR REPLACE FUNCTION {schema}.settle_v1(
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
    at tid[];   -- and where their deliveries are
    w int[];    -- of the messages to put
BEGIN
    -- With nothing to create, a crash may undo it within a second.
    IF cardinality(c_tags) = 0 THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    ELSE
        PERFORM {schema}.durable_v1();
    END IF;

    -- Messages come before deliveries, and each in order, so that no two calls wait for each other.
    PERFORM FROM (SELECT DISTINCT s.message FROM unnest(p_apply, p_messages, p_states) AS s (apply, message, states)
            WHERE s.apply AND s.states IS NULL ORDER BY s.message) s
        CROSS JOIN LATERAL (SELECT FROM {schema}.message m WHERE m.id = s.message OFFSET 0 FOR UPDATE) m;
    SELECT coalesce(array_agg(s.n), '{}'), array_agg(d.at) INTO good, at FROM (
        SELECT s.* FROM unnest(p_messages, p_destinations, p_tokens) WITH ORDINALITY AS s (message, destination, token, n)
        ORDER BY s.message, s.destination) s
    CROSS JOIN LATERAL (SELECT d.ctid AS at FROM {schema}.delivery d
        WHERE d.destination = s.destination AND d.message = s.message AND d.token = s.token OFFSET 0 FOR UPDATE) d;

    WITH ended AS (DELETE FROM {schema}.delivery d WHERE d.ctid = ANY (ARRAY(
                SELECT h.at FROM unnest(good, at) AS h (n, at) WHERE p_apply[h.n] AND p_states[h.n] IS NULL))
            RETURNING d.message),
        counted AS MATERIALIZED (SELECT e.message, count(*)::int AS ended FROM ended e GROUP BY e.message),
        found AS MATERIALIZED (SELECT c.*, m.at, m.remaining FROM counted c CROSS JOIN LATERAL (
            SELECT o.ctid AS at, o.remaining FROM {schema}.message o WHERE o.id = c.message OFFSET 0) m),
        less AS (UPDATE {schema}.message m SET remaining = m.remaining - f.ended FROM found f
            WHERE m.ctid = f.at AND f.remaining > f.ended)
    SELECT array_agg(f.message) INTO gone FROM found f WHERE f.remaining <= f.ended;
    IF gone IS NOT NULL THEN
        PERFORM {schema}.remove_v1(gone, p_forget);
    END IF;

    WITH s AS (SELECT h.n, h.at FROM unnest(good, at) AS h (n, at) WHERE p_apply[h.n] AND p_states[h.n] IS NOT NULL),
        stays AS (UPDATE {schema}.delivery d SET states = p_states[s.n], at_once = p_at_once[s.n], due = p_due[s.n],
                ready = NOT d.held, token = NULL, until = NULL, marked = false, warned = d.warned OR p_warned[s.n],
                because = p_because[s.n]
            FROM s WHERE d.ctid = s.at
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

-- For the same reason.
ALTER FUNCTION {schema}.settle_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.remove_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.extend_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.mark_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.take_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.hold_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.drop_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.flush_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.flush_named_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.end_holds_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.end_leases_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.end_leases_v2 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.put_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
ALTER FUNCTION {schema}.lanes_of_v1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off;
