-- What:  types of nodes that agents get no attempts of, until somebody lets them go on.
-- Lock:  none; a new table.
-- Check: `SELECT count(*) FROM node_pause` gives 0.

CREATE TABLE node_pause (
    node_type TEXT NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT
);
