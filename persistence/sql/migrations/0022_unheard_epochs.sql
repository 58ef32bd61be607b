-- An epoch that was left though somebody was not heard who may have acknowledged in it, killed or frozen. Places of
-- its journal that are known to be missing are losses; what such a one alone knew of its end, nobody can count.
ALTER TABLE meter.epochs ADD COLUMN unheard boolean NOT NULL DEFAULT false;
