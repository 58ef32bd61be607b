-- Up to which line an account's ledger is summed and its chain of balances checked, so that reconcile reads
-- only the lines after it. total is the sum of all amounts up to entry_id, balance_after that line's own.
-- broken_id is the first line after the last repair whose balance_after does not follow from the line before.
CREATE TABLE meter.checkpoints (
    namespace text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    entry_id bigint NOT NULL,
    total numeric NOT NULL,
    balance_after numeric NOT NULL,
    broken_id bigint,
    broken_expected numeric,
    broken_actual numeric,
    checked_at timestamptz NOT NULL,
    PRIMARY KEY (namespace, account)
) WITH (fillfactor = 70);

-- Which lines of the ledger are repairs: up to such a line the chain of balances may be broken, for a repair
-- ends what was wrong before it. Written in the posting transaction, so it never differs from the ledger.
CREATE TABLE meter.repairs (
    namespace text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    entry_id bigint NOT NULL,
    PRIMARY KEY (namespace, account, entry_id)
);

-- A finding may be about one hold; '' is about the account itself.
ALTER TABLE meter.audit_findings ADD COLUMN hold_id text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE meter.audit_findings DROP CONSTRAINT audit_findings_pkey;
ALTER TABLE meter.audit_findings
    ADD PRIMARY KEY (namespace, epoch, seq, account, issue_type, hold_id);

-- One row per reconcile. details has the first findings, in the scaled integers of their accounts.
CREATE TABLE meter.reconciliations (
    namespace text COLLATE "C" NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    trigger text COLLATE "C" NOT NULL,
    trust text COLLATE "C" CHECK (trust IN ('ledger', 'redis')),
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    accounts_checked bigint NOT NULL DEFAULT 0,
    findings bigint NOT NULL DEFAULT 0,
    repaired bigint NOT NULL DEFAULT 0,
    details jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (namespace, id)
);

-- Whose turn it is to walk all accounts round and round: one process at a time, until a time it moves on.
CREATE TABLE meter.reconcile_turn (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text NOT NULL,
    until timestamptz NOT NULL
);
