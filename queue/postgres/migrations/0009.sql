-- Hosts and domains that were authenticated by DANE or MTA-STS: package tlsstore reads
-- and writes them.
CREATE TABLE {schema}.proof (
    domain bytea,
    host   bytea, -- empty if it is about the domain
    policy bytea,
    at     bigint NOT NULL, -- the last time
    told   bigint,          -- when its loss was reported; null if it was not
    PRIMARY KEY (domain, host, policy)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 100);
