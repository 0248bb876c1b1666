-- What agents know together beside the mail: package tlsstore reads and writes it.

-- MTA-STS policies, one row for each domain.
CREATE TABLE {schema}.mta_sts (
    domain bytea PRIMARY KEY,
    entry  bytea NOT NULL -- JSON
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 100);

-- Sessions for reports of TLS, one row for each day and process that counts. They are
-- written again each minute in which something was counted.
CREATE TABLE {schema}.tls_counts (
    day     int,
    counter bytea,
    contact bytea NOT NULL, -- who reports
    tallies bytea NOT NULL, -- JSON
    PRIMARY KEY (day, counter)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50,
    toast.autovacuum_vacuum_scale_factor = 0.2, toast.autovacuum_vacuum_threshold = 200);

-- How far the report of a day and a domain has come.
CREATE TABLE {schema}.tls_report (
    day      int,
    domain   bytea,
    revision int NOT NULL,
    delivery bytea NOT NULL, -- JSON
    PRIMARY KEY (day, domain)
) WITH (fillfactor = 80);
