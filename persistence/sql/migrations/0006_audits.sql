-- One row per audit entry that was posted, and one row per account that did not agree at its position.
-- expected is the ledger's side, actual that of Redis, both integers of 10^-scale of the unit.
CREATE TABLE meter.audits (
    namespace text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    audited_at timestamptz NOT NULL,
    accounts_checked integer NOT NULL,
    PRIMARY KEY (namespace, epoch, seq)
);

CREATE TABLE meter.audit_findings (
    namespace text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    account text COLLATE "C" NOT NULL,
    issue_type text COLLATE "C" NOT NULL,
    expected numeric NOT NULL,
    actual numeric NOT NULL,
    PRIMARY KEY (namespace, epoch, seq, account, issue_type),
    FOREIGN KEY (namespace, epoch, seq) REFERENCES meter.audits
);
