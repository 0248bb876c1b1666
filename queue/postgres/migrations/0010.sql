-- Mends what claims left waiting, or did not leave as it was.

-- The heads that some transactions brought: those from one on, and some others. A restored
-- database has heads of transactions that are still to come; they are found where they
-- are in the order of all.
CREATE OR REPLACE FUNCTION {schema}.heads_v1(p_from bigint, p_others bigint[], p_limit int) RETURNS {schema}.head_v1[] LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT coalesce(array_agg((h.ctid, h.xid, h.seq, h.ripe, h.rank, h.due, h.destination, h.tenant, h.priority, h.at_once)::{schema}.head_v1), '{}')
        FROM (
            SELECT o.ctid, o.* FROM {schema}.head o WHERE o.xid >= p_from
                AND o.xid < greatest(txid_snapshot_xmax(txid_current_snapshot()), txid_current_if_assigned() + 1)
            UNION ALL SELECT h.* FROM unnest(p_others) AS x (xid) CROSS JOIN LATERAL (
                SELECT o.ctid, o.* FROM {schema}.head o WHERE o.xid = x.xid OFFSET 0) h
            LIMIT p_limit
        ) h);
END $$;

-- A lane sleeps until the end of its postponement only if nobody is about to end that:
-- who does so makes heads for the mail that is there, and would not see what is put
-- meanwhile. So the postponement is locked, and who ends it waits until the lane sleeps.
CREATE OR REPLACE FUNCTION {schema}.claim_v2(
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
        ), stays AS MATERIALIZED (
            SELECT o.destination, o.until FROM (SELECT DISTINCT x.destination FROM lane x WHERE x.until IS NOT NULL) x
            CROSS JOIN LATERAL (SELECT o.destination, o.until FROM {schema}.postponed o
                WHERE o.destination = x.destination OFFSET 0 FOR SHARE SKIP LOCKED) o
            WHERE o.until > p_now
        ), locked AS MATERIALIZED (
            SELECT h.ctid AS at, h.* FROM {schema}.head h
            WHERE h.ctid = ANY (ARRAY(
                SELECT r.at FROM look r JOIN lane x ON x.destination = r.destination AND x.tenant = r.tenant
                    AND x.priority = r.priority AND x.at_once = r.at_once
                WHERE x.heads > 1 OR x.admitted OR x.until IS NOT NULL))
            FOR UPDATE SKIP LOCKED
        ), numbered AS MATERIALIZED (
            SELECT k.at, k.due, k.destination, k.tenant, k.priority, k.at_once, x.until, s.until AS sleeps, x.admitted,
                min(k.rank) OVER lane AS lane_rank, row_number() OVER (lane ORDER BY k.due, k.at) AS n
            FROM locked k JOIN lane x ON x.destination = k.destination AND x.tenant = k.tenant
                AND x.priority = k.priority AND x.at_once = k.at_once
            LEFT JOIN stays s ON s.destination = k.destination
            WHERE k.ripe
            WINDOW lane AS (PARTITION BY k.destination, k.tenant, k.priority, k.at_once)
        ), gone AS (
            DELETE FROM {schema}.head h WHERE h.ctid = ANY (ARRAY(SELECT k.at FROM numbered k WHERE k.n > 1 OR k.sleeps IS NOT NULL))
        ), sleep AS (
            INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
            SELECT false, k.lane_rank, k.sleeps, k.destination, k.tenant, k.priority, k.at_once FROM numbered k
            WHERE k.n = 1 AND k.sleeps IS NOT NULL
        )
        SELECT (SELECT array_agg((l.at, l.xid, l.seq, l.ripe, l.rank, l.due, l.destination, l.tenant, l.priority, l.at_once)::{schema}.head_v1)
                FROM look l) AS look,
            (SELECT array_agg(k.at) FROM numbered k WHERE k.n > 1 OR k.sleeps IS NOT NULL) AS gone,
            (SELECT min(x.until) FROM lane x) AS later,
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

-- Ends leases of which the caller never learnt, and changes nothing else.
CREATE FUNCTION {schema}.give_back_v1(p_messages bigint[], p_destinations text[], p_tokens bigint[]) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
DECLARE
    at tid[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT array_agg(d.at) INTO at FROM (
        SELECT s.* FROM unnest(p_messages, p_destinations, p_tokens) AS s (message, destination, token) ORDER BY s.message, s.destination) s
    CROSS JOIN LATERAL (SELECT d.ctid AS at FROM {schema}.delivery d
        WHERE d.destination = s.destination AND d.message = s.message AND d.token = s.token OFFSET 0 FOR UPDATE) d;
    WITH free AS (UPDATE {schema}.delivery d SET token = NULL, until = NULL, ready = NOT d.held WHERE d.ctid = ANY (at)
            RETURNING d.destination, d.tenant, d.priority, d.at_once, d.due, d.ready)
    INSERT INTO {schema}.head (ripe, rank, due, destination, tenant, priority, at_once)
        SELECT at_once, {schema}.rank_v1(min(due), priority), min(due), destination, tenant, priority, at_once
        FROM free WHERE ready GROUP BY destination, tenant, priority, at_once;
END $$;
