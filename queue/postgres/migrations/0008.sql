-- Limits that claimers have in common: what each of them counts for at a limit.
CREATE TABLE {schema}.share (
    name        bytea,
    claimer     bytea,
    want        int NOT NULL,
    connections int NOT NULL,
    rate        double precision NOT NULL,
    until       bigint NOT NULL,
    PRIMARY KEY (name, claimer)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- Answers requests for shares, in order. Nobody waits: a limit that another call has in
-- hand is not answered.
CREATE FUNCTION {schema}.share_v1(
    p_now bigint, p_hold bigint, p_turn bigint, p_names bytea[], p_claimers bytea[], p_connections int[], p_rates double precision[],
    p_wants int[], p_haves int[], p_have_rates double precision[]
) RETURNS TABLE (connections int[], rates double precision[], answered boolean[]) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    others record;
    part int;
    rate double precision;
    w record;
    room int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR i IN 1 .. cardinality(p_names) LOOP
        connections[i] := 0;
        rates[i] := 0;
        answered[i] := pg_try_advisory_xact_lock(hashtext('{schema in text} share'), hashtext(encode(p_names[i], 'hex')));
        CONTINUE WHEN NOT answered[i];
        DELETE FROM {schema}.share s WHERE s.name = p_names[i] AND s.until <= p_now;
        SELECT coalesce(sum(s.connections), 0)::int AS connections, coalesce(sum(s.rate), 0) AS rate,
                count(*) FILTER (WHERE s.want > 0)::int AS wanting
            INTO others FROM {schema}.share s WHERE s.name = p_names[i] AND s.claimer <> p_claimers[i];
        part := 0;
        rate := 0;
        IF p_wants[i] > 0 THEN
            IF p_connections[i] > 0 THEN
                -- As many as it wants, or an equal part of what is left by those that want less.
                room := p_connections[i];
                part := p_wants[i];
                FOR w IN
                    SELECT x.want, x.self, count(*) OVER (ORDER BY x.want DESC, x.claimer DESC) AS n
                    FROM (SELECT s.want, s.claimer, false AS self FROM {schema}.share s
                            WHERE s.name = p_names[i] AND s.claimer <> p_claimers[i] AND s.want > 0
                        UNION ALL SELECT p_wants[i], p_claimers[i], true) x
                    ORDER BY x.want, x.claimer
                LOOP
                    IF w.want > room / w.n THEN
                        -- What cannot be divided goes to one after the other.
                        part := room / w.n;
                        IF ((SELECT count(*) FROM {schema}.share s WHERE s.name = p_names[i] AND s.claimer < p_claimers[i] AND s.want >= w.want
                                AND s.want > 0) + p_now / p_turn) % w.n < room % w.n THEN
                            part := part + 1;
                        END IF;
                        EXIT;
                    END IF;
                    EXIT WHEN w.self;
                    room := room - w.want;
                END LOOP;
                part := greatest(least(part, p_connections[i] - others.connections), 0);
            END IF;
            rate := least(p_rates[i] / (others.wanting + 1), p_rates[i] - others.rate);
            IF rate <= p_rates[i] / 1e6 THEN
                rate := 0;
            END IF;
        END IF;
        connections[i] := part;
        rates[i] := rate;
        IF p_wants[i] <= 0 AND p_haves[i] <= 0 AND p_have_rates[i] <= 0 THEN
            DELETE FROM {schema}.share s WHERE s.name = p_names[i] AND s.claimer = p_claimers[i];
        ELSE
            INSERT INTO {schema}.share AS s (name, claimer, want, connections, rate, until)
                VALUES (p_names[i], p_claimers[i], p_wants[i], greatest(part, p_haves[i]), greatest(rate, p_have_rates[i]), p_now + p_hold)
                ON CONFLICT (name, claimer) DO UPDATE SET want = excluded.want, connections = excluded.connections,
                    rate = excluded.rate, until = excluded.until;
        END IF;
    END LOOP;
    RETURN NEXT;
END $$;
