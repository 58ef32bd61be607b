-- One statement, one transaction: drop the hold, charge the account, book it.
WITH dropped AS (
    DELETE FROM peer.holds WHERE hold = %(hold)s RETURNING account, amount
), charged AS (
    UPDATE peer.accounts
    SET balance = accounts.balance - %(actual)s, reserved = accounts.reserved - dropped.amount
    FROM dropped WHERE accounts.account = dropped.account
    RETURNING accounts.account, accounts.balance
), booked AS (
    INSERT INTO peer.ledger (account, hold, amount, balance_after)
    SELECT account, %(hold)s, -%(actual)s::bigint, balance FROM charged
)
SELECT balance FROM charged
