-- Messages and contents are not vacuumed when they have come, but when they have left: most do
-- so soon, and no query here is the faster for it.
ALTER TABLE {schema}.message SET (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE {schema}.content SET (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);

-- Leases what is due, as claim_v2 does, and returns the contents of messages: as many as
-- p_bytes have room for, each of p_each bytes at most. What becomes due next shows that there
-- is mail, if it is still there: who looks for any message walks over all that have left, for
-- as long as an old transaction keeps them in place.
CREATE OR REPLACE FUNCTION {schema}.claim_v3(
    p_now bigint, p_until bigint, p_base bigint, p_max int, p_only text[], p_except text[], p_except_tenants bytea[],
    p_per_destination int, p_per_tenant int, p_lanes boolean, p_waits boolean,
    p_xmax bigint, p_xip bigint[], p_xids bigint[], p_seqs bigint[], p_rank bigint, p_seq bigint, p_page int, p_cut bigint,
    p_later bigint, p_lease bigint, p_lease_next bigint, p_bytes bigint, p_each bigint
) RETURNS TABLE (
    n int, message bigint, destination text, token bigint, due bigint, states bytea, warned boolean, marked boolean,
    tag int, size bigint, envelope bytea, envelope_sum int, content bytea, content_sum int, more boolean, any_mail boolean,
    anew boolean, xmax_ bigint, xip bigint[], rank bigint, seq bigint, later bigint, lease bigint, lease_next bigint,
    h_xid bigint[], h_seq bigint[], h_rank bigint[], h_destination text[], h_tenant bytea[], h_priority smallint[], h_at_once boolean[]
) LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off AS $$
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
    -- Of each of them: the number of its destination and of its tenant, up to where it was
    -- read, up to where all of it was taken, and whether something was left out before that.
    l_of_destination int[];
    l_of_tenant int[];
    read_due bigint[];
    read_message bigint[];
    taken_due bigint[];
    taken_message bigint[];
    passed boolean[];
    per_lane int;
    most_per_lane int;
    open_lanes int;
    spent int := 0;
    lane_cut bigint[];
    again boolean;
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

    -- The lanes are read a part at a time, and merged: what comes after the last row of a lane
    -- of which there may be more waits until that is read.
    l_destination := coalesce(l_destination, '{}');
    read_due := l_due;
    read_message := array_fill(-1::bigint, ARRAY[cardinality(l_destination)]);
    taken_due := read_due;
    taken_message := read_message;
    IF cardinality(l_destination) > 0 THEN
        IF p_per_destination > 0 THEN
            l_of_destination := ARRAY(SELECT dense_rank() OVER (ORDER BY x.name)::int FROM unnest(l_destination) WITH ORDINALITY AS x (name, n) ORDER BY x.n);
        END IF;
        IF p_per_tenant > 0 THEN
            l_of_tenant := ARRAY(SELECT dense_rank() OVER (ORDER BY x.name)::int FROM unnest(l_tenant) WITH ORDINALITY AS x (name, n) ORDER BY x.n);
        END IF;
        most_per_lane := 1 + least(p_max, nullif(p_per_destination, 0), nullif(p_per_tenant, 0));
        per_lane := least(p_max / cardinality(l_destination) + 2, most_per_lane);
        again := true;
    END IF;
    WHILE again LOOP
        again := false;
        lane_cut := NULL;
        FOR c IN
            SELECT d.lane, d.message, d.due, {schema}.rank_v1(d.due, l_priority[d.lane]) AS rank,
                min(ARRAY[{schema}.rank_v1(d.due, l_priority[d.lane]), d.message]) FILTER (WHERE d.k = per_lane) OVER () AS cut
            FROM {schema}.due_v1(p_now, per_lane, l_destination, l_tenant, l_priority, l_at_once, read_due, read_message) d
            ORDER BY rank, d.message, l_destination[d.lane] COLLATE "C"
        LOOP
            lane_cut := c.cut;
            IF taken = p_max OR c.rank > cut THEN
                left_out := true;
                lane_cut := NULL;
                EXIT;
            END IF;
            EXIT WHEN ARRAY[c.rank, c.message] > c.cut;
            read_due[c.lane] := c.due;
            read_message[c.lane] := c.message;
            -- Of a lane that has no room for more, no more is read.
            IF p_per_destination > 0 AND coalesce(of_destination[l_of_destination[c.lane]], 0) >= p_per_destination
                OR p_per_tenant > 0 AND coalesce(of_tenant[l_of_tenant[c.lane]], 0) >= p_per_tenant THEN
                left_out := true;
                passed[c.lane] := true;
                read_due[c.lane] := most;
                read_message[c.lane] := most;
                CONTINUE;
            END IF;
            IF p_per_destination > 0 THEN
                of_destination[l_of_destination[c.lane]] := coalesce(of_destination[l_of_destination[c.lane]], 0) + 1;
            END IF;
            IF p_per_tenant > 0 THEN
                of_tenant[l_of_tenant[c.lane]] := coalesce(of_tenant[l_of_tenant[c.lane]], 0) + 1;
            END IF;
            taken := taken + 1;
            t_destination[taken] := l_destination[c.lane];
            t_message[taken] := c.message;
            IF passed[c.lane] IS NULL THEN
                taken_due[c.lane] := c.due;
                taken_message[c.lane] := c.message;
            END IF;
        END LOOP;
        -- No more is read than is worth it: the rest is left to the next claim.
        IF lane_cut IS NOT NULL THEN
            spent := spent + cardinality(l_destination) * per_lane;
            open_lanes := 0;
            FOR i IN 1 .. cardinality(l_destination) LOOP
                IF p_per_destination > 0 AND coalesce(of_destination[l_of_destination[i]], 0) >= p_per_destination
                    OR p_per_tenant > 0 AND coalesce(of_tenant[l_of_tenant[i]], 0) >= p_per_tenant THEN
                    passed[i] := true;
                    read_due[i] := most;
                    read_message[i] := most;
                ELSE
                    open_lanes := open_lanes + 1;
                END IF;
            END LOOP;
            per_lane := least(4 * per_lane, most_per_lane, (20 * p_max + 1000 - spent) / greatest(open_lanes, 1));
            again := taken < p_max AND open_lanes > 0 AND per_lane > 1;
            left_out := left_out OR NOT again OR open_lanes < cardinality(l_destination);
        END IF;
    END LOOP;
    left_out := left_out OR cut < 9223372036854775807;

    IF taken > 0 THEN
        PERFORM {schema}.lapse_v1(p_now, p_until);
        RETURN QUERY
            SELECT l.n, l.message, l.destination, l.token, l.due, l.states, l.warned, l.marked, l.tag, l.size, l.envelope, l.envelope_sum,
                l.content, l.content_sum, false, true,
                NULL::boolean, NULL::bigint, NULL::bigint[], NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
                NULL::bigint[], NULL::bigint[], NULL::bigint[], NULL::text[], NULL::bytea[], NULL::smallint[], NULL::boolean[]
            FROM {schema}.lease_v2(p_until, p_base, t_destination, t_message, least(p_each, p_bytes / taken)) l;
        GET DIAGNOSTICS got = ROW_COUNT;
        left_out := left_out OR got < taken;
    END IF;

    -- One head for each lane that was looked at, as late as it may be, and none for an
    -- empty one. What is put meanwhile brings a head of its own. A head that is a little
    -- early is left as it is, unless such heads have hidden everything. Others are not
    -- changed but replaced, so that who looks for one does not meet all that it was before.
    -- A lane is read from where all of it was taken, unless somebody else had some of that.
    IF cardinality(l_at) > 0 THEN
        IF got < taken THEN
            taken_due := l_due;
            taken_message := array_fill(-1::bigint, ARRAY[cardinality(l_at)]);
        END IF;
        WITH looked AS MATERIALIZED (
            SELECT x.*, f.due AS first
            FROM unnest(l_destination, l_tenant, l_priority, l_at_once, l_due, l_at)
                WITH ORDINALITY AS x (destination, tenant, priority, at_once, head, at, n)
            LEFT JOIN {schema}.due_v1(most, 1, l_destination, l_tenant, l_priority, l_at_once, taken_due, taken_message) f ON f.lane = x.n
        ), wrong AS MATERIALIZED (
            SELECT x.* FROM looked x WHERE x.first IS NULL OR x.first > x.head + CASE WHEN taken > 0 THEN 200000 ELSE 0 END
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
    IF NOT any_mail AND first_later < most THEN
        any_mail := EXISTS (
            SELECT FROM (SELECT o.* FROM {schema}.head o WHERE NOT o.ripe AND o.due >= first_later AND o.due < most ORDER BY o.due LIMIT 1) h
            CROSS JOIN LATERAL (SELECT FROM {schema}.delivery d
                WHERE d.ready AND d.destination = h.destination AND d.tenant = h.tenant AND d.priority = h.priority AND d.at_once = h.at_once
                    AND d.due >= h.rank + h.priority * 600000000::bigint
                ORDER BY d.due LIMIT 1) d);
    END IF;
    IF NOT any_mail AND (due IS NOT NULL OR p_waits) THEN -- which may walk over all that has left
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
