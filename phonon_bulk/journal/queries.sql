-- Every statement the journal runs, under its name. A change of state says from which state it
-- comes; the caller treats "no row moved" as an error.

-- name: insert_run
INSERT INTO run (campaign, account, endpoint, flow_id, definition, list, list_sha256, identity,
                 not_after, variant, kind, created_at)
VALUES (:campaign, :account, :endpoint, :flow_id, :definition, :list, :list_sha256, :identity,
        :not_after, :variant, :kind, :created_at)
RETURNING id;

-- name: newest_of_identity
-- The newest run of a campaign and list, how many there were, and the highest variant of theirs.
SELECT max(id) AS id, count(*) AS runs, max(max(run.variant, coalesce((
           SELECT max(batch.variant) FROM batch WHERE batch.run = run.id), 0))) AS variant
  FROM run WHERE identity = :identity OR identity LIKE :identity || '+%';

-- name: count_rows
-- Guarded by the row the reader believes it stands at: two readers of one list can't mix.
UPDATE run
   SET rows = :last_row, rejected = rejected + :rejected, suppressed = suppressed + :suppressed,
       duplicates = duplicates + :duplicates, calls = calls + :calls
 WHERE id = :run AND rows = :after_row AND read_at IS NULL;

-- name: finish_reading
UPDATE run SET read_at = :now, whole = :whole WHERE id = :run AND read_at IS NULL;

-- name: insert_batch
-- Born ready; or expired, when it is the part of a split batch that it is too late for.
INSERT INTO batch (run, parent, first_row, calls, size, start_date, sha256, variant, state,
                   settled_at, reason, came_at)
VALUES (:run, :parent, :first_row, :calls, :size, :start_date, :sha256,
        (SELECT variant FROM run WHERE id = :run), :state, :settled_at, :reason, :came_at)
RETURNING id;

-- name: insert_body
INSERT INTO body (batch, calls, rows) VALUES (:batch, :body, :rows);

-- name: insert_left_out
INSERT INTO left_out (run, row, state, reason, client_identifier, contact_numbers, fields)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_note
INSERT INTO note (run, note, contacts, row) VALUES (:run, :note, :contacts, :row)
ON CONFLICT (run, note) DO UPDATE
   SET contacts = contacts + excluded.contacts, row = min(row, excluded.row);

-- name: claim
-- In the list's order, so that the halves of a split batch come before the batches after it.
UPDATE batch
   SET state = 'claimed', owner = :owner, lease_until = :lease_until
 WHERE state = 'ready' AND id IN (
    SELECT batch.id
      FROM batch INDEXED BY batch_ready JOIN run ON run.id = batch.run
     WHERE batch.run = :run AND batch.state = 'ready' AND batch.not_before <= :now
       AND run.control = 'go'
     ORDER BY batch.first_row, batch.id
     LIMIT :limit)
RETURNING id, run, first_row, calls, start_date, sha256, variant, head_sha256, attempts, doubted_at,
          coalesce(doubted_steady, doubted_at) AS doubted_steady, denied, came_at, parent;

-- name: claimed_body
SELECT calls, rows FROM body WHERE batch = :batch;

-- name: renew
UPDATE batch SET lease_until = :lease_until
 WHERE owner = :owner AND state IN ('claimed', 'sending');

-- name: release
UPDATE batch SET state = 'ready', owner = NULL, lease_until = NULL
 WHERE id = :batch AND state = 'claimed' AND owner = :owner;

-- name: earlier_twin
-- Another batch whose very bytes went out and were taken, or may have been. (What was surely not
-- taken is no twin.)
SELECT run, state FROM batch INDEXED BY batch_sent JOIN attempt ON attempt.batch = batch.id
 WHERE sha256 = :sha256 AND batch.head_sha256 IS NOT NULL AND id <> :batch
   AND coalesce(attempt.head_sha256, batch.head_sha256) = :head_sha256
   AND coalesce(verdict, '') NOT IN ('throttled', 'setup', 'account', 'not_sent', 'held_back')
   AND (state IN ('sending', 'in_doubt', 'accepted', 'split', 'abandoned')
        OR (state IN ('ready', 'claimed') AND doubted_at IS NOT NULL))
 ORDER BY id LIMIT 1;

-- name: put_off
UPDATE batch SET state = 'ready', owner = NULL, lease_until = NULL, not_before = :not_before
 WHERE id = :batch AND state = 'claimed' AND owner = :owner;

-- name: keep
UPDATE batch SET lease_until = :lease_until
 WHERE id = :batch AND state = 'claimed' AND owner = :owner;

-- name: refuse
UPDATE batch
   SET state = 'refused', owner = NULL, lease_until = NULL, settled_at = :now, reason = :reason
 WHERE id = :batch AND state = 'claimed' AND owner = :owner;

-- name: send
UPDATE batch
   SET state = 'sending', attempts = attempts + 1, head_sha256 = :head_sha256,
       lease_until = :lease_until,
       denied = CASE WHEN head_sha256 = :head_sha256 THEN denied ELSE 0 END,
       doubted_at = CASE WHEN head_sha256 = :head_sha256 THEN doubted_at END,
       doubted_steady = CASE WHEN head_sha256 = :head_sha256 THEN doubted_steady END
 WHERE id = :batch AND state = 'claimed' AND owner = :owner AND attempts = :attempts
RETURNING attempts;

-- name: insert_attempt
INSERT INTO attempt (batch, n, sent_at, steady_at, head_sha256)
VALUES (:batch, :n, :now, :steady, :head_sha256);

-- name: settle
-- From sending to what the answer says. 'denied' speaks of the bytes, so another variant clears it.
UPDATE batch
   SET state = :state, owner = NULL, lease_until = NULL, accepted = :accepted,
       request_id = :request_id, reason = :reason, not_before = :not_before,
       settled_at = :settled_at,
       doubted_at = CASE WHEN :state = 'in_doubt' THEN coalesce(doubted_at, (
           SELECT sent_at FROM attempt WHERE attempt.batch = batch.id AND n = attempts))
           ELSE doubted_at END,
       doubted_steady = CASE WHEN :state = 'in_doubt' THEN coalesce(doubted_steady, doubted_at, (
           SELECT steady_at FROM attempt WHERE attempt.batch = batch.id AND n = attempts))
           ELSE doubted_steady END,
       denied = CASE WHEN :variant = variant THEN max(denied, :denied) ELSE 0 END,
       variant = :variant
 WHERE id = :batch AND state = 'sending' AND owner = :owner
RETURNING attempts;

-- name: end_attempt
UPDATE attempt
   SET ended_at = :now, verdict = :verdict, http_status = :http_status, code = :code,
       message = :message
 WHERE batch = :batch AND n = :n AND ended_at IS NULL;

-- name: insert_answer
INSERT INTO answer (batch, body) VALUES (:batch, :body)
ON CONFLICT (batch) DO UPDATE SET body = excluded.body;

-- name: split
UPDATE batch
   SET state = 'split', owner = NULL, lease_until = NULL, settled_at = :now, reason = :reason
 WHERE id = :batch AND state = :state AND owner = :owner
RETURNING run, calls, attempts;

-- name: expire
UPDATE batch
   SET state = 'expired', owner = NULL, lease_until = NULL, settled_at = :now, reason = :reason
 WHERE id = :batch AND state = 'claimed' AND owner = :owner;

-- name: take_back
UPDATE run SET control = 'cancelled', reason = :reason, cancelled_at = :now
 WHERE id = :run AND control <> 'cancelled';

-- name: cancel_ready
-- What others hold meanwhile follows when they give it back: a trigger of schema 5 sees to it.
UPDATE batch SET state = 'cancelled', not_before = 0, settled_at = :now, reason = :reason
 WHERE run = :run AND state = 'ready'
RETURNING calls;

-- name: owners
-- Who holds anything.
SELECT DISTINCT owner FROM batch INDEXED BY batch_leased WHERE state IN ('claimed', 'sending');

-- name: return_lost_claims
-- Both states are named as the index batch_leased names them, or it would not be used.
UPDATE batch SET state = 'ready', owner = NULL, lease_until = NULL
 WHERE state = 'claimed' AND state IN ('claimed', 'sending')
   AND (lease_until <= :now OR owner IN (SELECT value FROM json_each(:dead)));

-- name: doubt_lost_sendings
UPDATE batch
   SET state = 'in_doubt', owner = NULL, lease_until = NULL, not_before = :replay_at,
       doubted_at = coalesce(doubted_at, (
           SELECT sent_at FROM attempt WHERE attempt.batch = batch.id AND n = attempts)),
       doubted_steady = coalesce(doubted_steady, doubted_at, (
           SELECT steady_at FROM attempt WHERE attempt.batch = batch.id AND n = attempts)),
       reason = 'the process that sent it ended before the answer was recorded'
 WHERE state = 'sending' AND state IN ('claimed', 'sending')
   AND (lease_until <= :now OR owner IN (SELECT value FROM json_each(:dead)));

-- name: doubts
-- What may be replayed now: young enough, and of a date at which it would not be refused as past.
SELECT id, run, first_row, calls, start_date, sha256, variant, head_sha256, attempts, doubted_at,
       coalesce(doubted_steady, doubted_at) AS doubted_steady, denied, came_at, parent
  FROM batch INDEXED BY batch_in_doubt
 WHERE run = :run AND state = 'in_doubt' AND not_before <= :now
   AND EXISTS (SELECT 1 FROM run WHERE run.id = :run AND control = 'go')
   AND doubted_at > :since AND coalesce(doubted_steady, doubted_at) > :steady_since
   AND start_date >= :today
   AND id NOT IN (SELECT value FROM json_each(:but))
 ORDER BY not_before LIMIT :limit;

-- name: next_doubt
SELECT min(not_before) AS not_before FROM batch INDEXED BY batch_in_doubt
 WHERE run = :run AND state = 'in_doubt'
   AND doubted_at > :since AND coalesce(doubted_steady, doubted_at) > :steady_since
   AND start_date >= :today
   AND id NOT IN (SELECT value FROM json_each(:but));

-- name: replay
UPDATE batch
   SET state = 'sending', attempts = attempts + 1, owner = :owner, lease_until = :lease_until
 WHERE id = :batch AND state = 'in_doubt' AND attempts = :attempts
RETURNING attempts, head_sha256;

-- name: resolve
-- What a person says of a doubt. Resent bytes stay doubted: a repeat then proves the first try. They
-- count as sent now, so that what comes of it is replayed like any new doubt.
UPDATE batch
   SET state = :state, settled_at = :settled_at, reason = :reason, not_before = 0,
       accepted = CASE :state WHEN 'accepted' THEN calls ELSE 0 END,
       doubted_at = CASE :state WHEN 'ready' THEN :now ELSE doubted_at END,
       doubted_steady = CASE :state WHEN 'ready' THEN :steady ELSE doubted_steady END
 WHERE id = :batch AND run = :run AND state = 'in_doubt';

-- name: insert_resolution
-- Two of one batch at one moment are told apart by a microsecond.
INSERT INTO resolution (batch, at, who, outcome, after_try)
VALUES (:batch, max(:now, coalesce((SELECT max(at) + 0.000001 FROM resolution WHERE batch = :batch),
                                   :now)), :who, :state, (SELECT attempts FROM batch WHERE id = :batch));

-- name: all_doubts
SELECT id AS batch, first_row, calls, attempts, sent_at, doubted_at, verdict, reason
  FROM batch JOIN attempt ON attempt.batch = batch.id AND n = attempts
 WHERE run = :run AND state = 'in_doubt' ORDER BY first_row;

-- name: set_control
-- To take a run back is another matter, and for good.
UPDATE run SET control = :control, reason = :reason
 WHERE id = :run AND control IN (SELECT value FROM json_each(:allowed))
   AND control <> 'cancelled' AND :control <> 'cancelled';

-- name: amend
UPDATE run SET flow_id = :flow_id, not_after = :not_after WHERE id = :run;

-- ---- who is at work, and what is to be done

-- name: begin_work
INSERT INTO at_work (run, owner, what, since) VALUES (:run, :owner, :what, :now)
ON CONFLICT (run, owner, what) DO NOTHING;

-- name: beat
INSERT INTO heartbeat (id, at) VALUES (1, :now) ON CONFLICT (id) DO UPDATE SET at = excluded.at;

-- name: end_work
DELETE FROM at_work WHERE run = :run AND owner = :owner AND what = :what;

-- name: at_work
SELECT run, owner, what, since FROM at_work ORDER BY run, since;

-- name: workers
SELECT DISTINCT owner FROM at_work;

-- name: forget_work
DELETE FROM at_work WHERE owner = :owner;

-- name: due_runs
-- Runs that are to go on and have something to do now: a batch that is ready, a doubt that may be
-- replayed, a lease that was lost. The three indexes hold only what is open, and are hopped through
-- from run to run: thousands of runs may be over, and one may have millions of batches.
WITH RECURSIVE
ready (run) AS (
    SELECT min(run) FROM batch INDEXED BY batch_ready WHERE state = 'ready'
    UNION ALL
    SELECT (SELECT min(run) FROM batch INDEXED BY batch_ready
             WHERE state = 'ready' AND run > ready.run) FROM ready WHERE run IS NOT NULL),
doubted (run) AS (
    SELECT min(run) FROM batch INDEXED BY batch_in_doubt WHERE state = 'in_doubt'
    UNION ALL
    SELECT (SELECT min(run) FROM batch INDEXED BY batch_in_doubt
             WHERE state = 'in_doubt' AND run > doubted.run) FROM doubted WHERE run IS NOT NULL),
held (run) AS (
    SELECT min(run) FROM batch INDEXED BY batch_leased WHERE state IN ('claimed', 'sending')
    UNION ALL
    SELECT (SELECT min(run) FROM batch INDEXED BY batch_leased
             WHERE state IN ('claimed', 'sending') AND run > held.run)
      FROM held WHERE run IS NOT NULL)
SELECT id AS run, account, endpoint, flow_id, definition, not_after, kind FROM run
 WHERE control = 'go' AND id IN (
    SELECT run FROM ready WHERE EXISTS (
        SELECT 1 FROM batch INDEXED BY batch_ready
         WHERE batch.run = ready.run AND state = 'ready' AND not_before <= :now)
    UNION
    SELECT run FROM doubted WHERE EXISTS (
        SELECT 1 FROM batch INDEXED BY batch_in_doubt
         WHERE batch.run = doubted.run AND state = 'in_doubt' AND not_before <= :now
           AND doubted_at > :since AND coalesce(doubted_steady, doubted_at) > :steady_since
           AND start_date >= :today)
    UNION
    SELECT run FROM held WHERE EXISTS (
        SELECT 1 FROM batch INDEXED BY batch_leased
         WHERE batch.run = held.run AND state IN ('claimed', 'sending') AND lease_until <= :now))
 ORDER BY id;

-- name: next_due
-- When the next of what is put off, in doubt or held is due.
SELECT min(at) FROM (
    SELECT min(not_before) AS at FROM batch INDEXED BY batch_put_off JOIN run ON run.id = batch.run
     WHERE state = 'ready' AND not_before > 0 AND control = 'go' AND not_before > :now
    UNION ALL
    SELECT min(not_before) FROM batch INDEXED BY batch_in_doubt JOIN run ON run.id = batch.run
     WHERE state = 'in_doubt' AND control = 'go' AND not_before > :now AND doubted_at > :since
    UNION ALL
    SELECT min(lease_until) FROM batch INDEXED BY batch_leased JOIN run ON run.id = batch.run
     WHERE state IN ('claimed', 'sending') AND control = 'go' AND lease_until > :now);

-- ---- single calls

-- name: order_of_key
SELECT id, run, batch, came_at, request FROM intake WHERE key = :key;

-- name: order
SELECT id, run, batch, came_at, request FROM intake WHERE id = :id;

-- name: count_single
UPDATE run SET rows = rows + :calls, calls = calls + :calls
 WHERE id = :run AND kind = 'intake' AND read_at IS NULL AND control = 'go'
RETURNING rows;

-- name: insert_single
INSERT INTO batch (run, first_row, calls, size, start_date, sha256, variant, state, owner,
                   lease_until, came_at)
VALUES (:run, :first_row, :calls, :size, :start_date, :sha256,
        (SELECT variant FROM run WHERE id = :run), :state, :owner, :lease_until, :came_at)
RETURNING id;

-- name: insert_order
INSERT INTO intake (id, run, batch, came_at, key, request)
VALUES (:id, :run, :batch, :came_at, :key, :request);

-- name: others_ready
SELECT 1 FROM batch INDEXED BY batch_ready
 WHERE run = :run AND state = 'ready' AND id <> :batch LIMIT 1;

-- name: claim_one
UPDATE batch
   SET state = 'claimed', owner = :owner, lease_until = :lease_until
 WHERE id = :batch AND state = 'ready'
RETURNING id, run, first_row, calls, start_date, sha256, variant, head_sha256, attempts, doubted_at,
          coalesce(doubted_steady, doubted_at) AS doubted_steady, denied, came_at, parent;

-- name: batch
SELECT id, run, first_row, calls, start_date, sha256, variant, head_sha256, attempts, doubted_at,
       coalesce(doubted_steady, doubted_at) AS doubted_steady, denied, came_at, parent
  FROM batch WHERE id = :batch;

-- name: gather
UPDATE batch
   SET state = 'split', owner = NULL, lease_until = NULL, settled_at = :now,
       reason = 'gathered with others into one request', gathered_into = :into
 WHERE id = :batch AND run = :run AND state = 'claimed' AND owner = :owner AND attempts = 0
   AND parent IS NULL;

-- name: waiting
SELECT coalesce((SELECT sum(calls) FROM batch INDEXED BY batch_ready
                  WHERE run IN (SELECT value FROM json_each(:runs)) AND state = 'ready'), 0)
     + coalesce((SELECT sum(calls) FROM batch INDEXED BY batch_leased
                  WHERE run IN (SELECT value FROM json_each(:runs))
                    AND state IN ('claimed', 'sending')), 0) AS calls;

-- name: arrival
-- When a single call came in, by its row: an order's rows follow one another, and what its calls
-- were gathered into begins with them or with earlier ones.
SELECT came_at FROM batch INDEXED BY batch_by_row
 WHERE run = :run AND first_row <= :row AND parent IS NULL
 ORDER BY first_row DESC, id LIMIT 1;

-- name: stopped
-- The first and the last of what is ready tell whether anything of it is not past: all of a list
-- has one date mostly, and may be a hundred thousand batches.
SELECT id, account, flow_id, reason FROM run
 WHERE control = 'stopped' AND (
    EXISTS (SELECT 1 FROM (
        SELECT start_date FROM batch INDEXED BY batch_ready
         WHERE batch.run = run.id AND state = 'ready' ORDER BY first_row, id LIMIT 100)
     WHERE start_date >= :today)
    OR EXISTS (SELECT 1 FROM (
        SELECT start_date FROM batch INDEXED BY batch_ready
         WHERE batch.run = run.id AND state = 'ready' ORDER BY first_row DESC, id DESC LIMIT 100)
     WHERE start_date >= :today))
 ORDER BY id;

-- name: open_intakes
SELECT * FROM run WHERE kind = 'intake' AND read_at IS NULL ORDER BY id;

-- name: settled_origins
-- Those of some batches whose calls all have come to an end, wherever they are now.
WITH RECURSIVE leaf (origin, batch) AS (
    SELECT value, value FROM json_each(:batches)
    UNION
    SELECT origin, coalesce(one.gathered_into, part.id)
      FROM leaf JOIN batch AS one ON one.id = leaf.batch
           LEFT JOIN batch AS part ON part.parent = one.id AND one.gathered_into IS NULL
     WHERE one.state = 'split')
SELECT origin FROM leaf JOIN batch ON batch.id = leaf.batch
 WHERE batch.state <> 'split'
 GROUP BY origin HAVING sum(batch.state IN ('ready', 'claimed', 'sending')) = 0;

-- name: leaves
-- What has become of batches: each with those that hold its calls now.
WITH RECURSIVE leaf (origin, batch) AS (
    SELECT value, value FROM json_each(:batches)
    UNION
    SELECT origin, coalesce(one.gathered_into, part.id)
      FROM leaf JOIN batch AS one ON one.id = leaf.batch
           LEFT JOIN batch AS part ON part.parent = one.id AND one.gathered_into IS NULL
     WHERE one.state = 'split')
SELECT origin, was.first_row AS from_row, was.calls AS of_calls, batch.id, batch.first_row,
       batch.calls, batch.state, batch.reason, batch.request_id, batch.accepted, batch.attempts,
       batch.settled_at, body.calls AS body, body.rows AS rows, answer.body AS answer
  FROM leaf JOIN batch AS was ON was.id = leaf.origin JOIN batch ON batch.id = leaf.batch
       LEFT JOIN body ON body.batch = batch.id LEFT JOIN answer ON answer.batch = batch.id
 WHERE batch.state <> 'split'
 ORDER BY origin, batch.first_row;

-- name: clock
SELECT boot, zero FROM clock;

-- name: set_clock
INSERT INTO clock (id, boot, zero) VALUES (1, :boot, :zero)
ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, zero = excluded.zero;

-- name: newest_moment
-- The newest of the journal's own time that stands in it.
SELECT coalesce(max(steady_at), 0) FROM attempt;

-- name: next_lease
-- When the first lease of somebody else's ends: until then a run with nothing ready is not over.
SELECT min(lease_until) AS lease_until FROM batch INDEXED BY batch_leased
 WHERE run = :run AND state IN ('claimed', 'sending');

-- name: next_ready
-- Of what is ready little is put off.
SELECT min(at) AS not_before FROM (
    SELECT 0.0 AS at WHERE EXISTS (
        SELECT 1 FROM batch INDEXED BY batch_ready
         WHERE run = :run AND state = 'ready' AND not_before <= 0)
    UNION ALL
    SELECT min(not_before) FROM batch INDEXED BY batch_put_off
     WHERE state = 'ready' AND not_before > 0 AND run = :run);

-- name: run_control
SELECT control FROM run WHERE id = :run;

-- name: run
SELECT * FROM run WHERE id = :run;

-- name: runs
SELECT * FROM run ORDER BY id DESC LIMIT :limit;

-- name: runs_of
SELECT * FROM run WHERE campaign = :campaign AND account = :account AND endpoint = :endpoint
 ORDER BY id DESC LIMIT 30;

-- name: runs_of_file
SELECT * FROM run WHERE campaign = :campaign AND account = :account AND endpoint = :endpoint
   AND json_array_length(list, '$.files') = 1 AND json_extract(list, '$.files[0].path') = :path
 ORDER BY id DESC LIMIT 30;

-- name: counts
SELECT state, count(*) AS batches, sum(calls) AS calls, sum(accepted) AS accepted,
       sum(attempts) AS requests, max(settled_at) AS settled_at
  FROM batch WHERE run = :run GROUP BY state;

-- name: backlog
-- What is not settled of runs that are to go on; three indexes hold just that.
SELECT account, endpoint, state, count(*) AS batches, sum(batch.calls) AS calls,
       min(coalesce(came_at, created_at)) AS oldest_at
  FROM batch INDEXED BY batch_ready JOIN run ON run.id = batch.run
 WHERE state = 'ready' AND control = 'go' GROUP BY account, endpoint, state
UNION ALL
SELECT account, endpoint, state, count(*), sum(batch.calls), min(coalesce(came_at, created_at))
  FROM batch INDEXED BY batch_leased JOIN run ON run.id = batch.run
 WHERE state IN ('claimed', 'sending') AND control = 'go' GROUP BY account, endpoint, state
UNION ALL
SELECT account, endpoint, state, count(*), sum(batch.calls), NULL
  FROM batch INDEXED BY batch_in_doubt JOIN run ON run.id = batch.run
 WHERE state = 'in_doubt' GROUP BY account, endpoint, state;

-- name: reasons
-- The reasons for calls that were not placed, most frequent first.
SELECT state, reason, sum(calls - accepted) AS calls FROM batch
 WHERE run = :run AND reason IS NOT NULL AND state IN ('refused', 'accepted', 'in_doubt', 'expired')
 GROUP BY state, reason HAVING sum(calls - accepted) > 0
 ORDER BY calls DESC LIMIT :limit;

-- name: left_out_reasons
-- So many of each state: the reasons of those left out on purpose hide none of the others.
SELECT state, reason, rows, row FROM (
    SELECT state, reason, count(*) AS rows, min(row) AS row,
           row_number() OVER (PARTITION BY state ORDER BY count(*) DESC, min(row)) AS place
      FROM left_out WHERE run = :run GROUP BY state, reason)
 WHERE place <= :limit ORDER BY rows DESC, row;

-- name: notes
SELECT note, contacts, row FROM note WHERE run = :run
 ORDER BY contacts DESC, row LIMIT :limit;

-- name: settled_batches
SELECT batch.id, first_row, batch.calls, state, reason, request_id, accepted, attempts, settled_at,
       body.calls AS body, body.rows AS rows, answer.body AS answer
  FROM batch LEFT JOIN body ON body.batch = batch.id
       LEFT JOIN answer ON answer.batch = batch.id
 WHERE run = :run AND state <> 'split'
 ORDER BY first_row;

-- name: left_out_rows
SELECT row, reason, client_identifier, contact_numbers, fields, state FROM left_out
 WHERE run = :run ORDER BY row;

-- name: placed
-- The calls of a campaign that were placed, may have been or will be. `answer` says which of them,
-- where some were.
SELECT batch.id AS batch, run.id AS run, batch.calls, body.calls AS body, answer.body AS answer
  FROM run JOIN batch ON batch.run = run.id LEFT JOIN body ON body.batch = batch.id
       LEFT JOIN answer ON answer.batch = batch.id AND state = 'accepted' AND accepted < batch.calls
 WHERE campaign = :campaign AND account = :account AND created_at >= :since
   AND run.id IS NOT :but_not AND pruned_at IS NULL
   AND state IN ('ready', 'claimed', 'sending', 'in_doubt', 'accepted', 'abandoned');

-- name: placed_in
-- All calls that a run has made of its list.
SELECT batch.id AS batch, run, batch.calls, body.calls AS body, NULL AS answer
  FROM batch LEFT JOIN body ON body.batch = batch.id
 WHERE run = :run AND state <> 'split';

-- ---- what the audit proves from; :run is NULL for all runs

-- name: frozen
SELECT batch.id AS batch, run, state, first_row, batch.calls, size, sha256,
       body.calls AS body, body.rows AS rows, pruned_at IS NOT NULL AS is_pruned
  FROM batch JOIN run ON run.id = batch.run LEFT JOIN body ON body.batch = batch.id
 WHERE :run IS NULL OR run = :run
 ORDER BY run, batch.id;

-- name: histories
SELECT batch.id AS batch, run, state, n, verdict, attempt.ended_at, sent_at,
       attempt.head_sha256 AS head_sha256
  FROM batch JOIN attempt ON attempt.batch = batch.id
 WHERE :run IS NULL OR run = :run
 ORDER BY batch.id, n;

-- name: resolutions
SELECT batch.id AS batch, outcome, coalesce(after_try, (
           SELECT count(*) FROM attempt WHERE attempt.batch = batch.id AND sent_at <= at)) AS after_try
  FROM batch JOIN resolution ON resolution.batch = batch.id
 WHERE :run IS NULL OR run = :run
 ORDER BY batch.id, after_try, at;

-- name: posts
-- Every request that may have reached the provider, in the order in which they left.
SELECT account, endpoint, coalesce(steady_at, sent_at) AS at, sent_at AS wall, batch.calls
  FROM attempt JOIN batch ON batch.id = attempt.batch JOIN run ON run.id = batch.run
 WHERE (:run IS NULL OR run = :run) AND coalesce(verdict, '') NOT IN ('not_sent', 'held_back')
 ORDER BY at;

-- name: left_out_counts
SELECT state, count(*) AS rows FROM left_out WHERE run = :run GROUP BY state;

-- name: uneven_splits
-- Batches whose calls are not all in those that took their place, or in more.
SELECT batch.id AS batch, batch.run, batch.calls, coalesce(sum(part.calls), 0) AS in_parts
  FROM batch LEFT JOIN batch AS part ON part.parent = batch.id
 WHERE batch.state = 'split' AND batch.gathered_into IS NULL AND (:run IS NULL OR batch.run = :run)
 GROUP BY batch.id HAVING in_parts <> batch.calls
UNION ALL
SELECT batch.id, batch.run, batch.calls, sum(member.calls)
  FROM batch JOIN batch AS member ON member.gathered_into = batch.id
 WHERE :run IS NULL OR batch.run = :run
 GROUP BY batch.id HAVING sum(member.calls) <> batch.calls;

-- name: uneven_counts
-- Batches whose attempts are not as many as they say.
SELECT batch.id AS batch, run, attempts, count(attempt.n) AS noted
  FROM batch LEFT JOIN attempt ON attempt.batch = batch.id
 WHERE :run IS NULL OR run = :run
 GROUP BY batch.id HAVING noted <> attempts;

-- name: accepted_twice
-- Batches that were accepted though another was with the very same bytes.
SELECT max(batch.id) AS batch, max(run) AS run, count(*) AS batches FROM batch
 WHERE state = 'accepted' AND head_sha256 IS NOT NULL
 GROUP BY sha256, head_sha256
HAVING batches > 1 AND (:run IS NULL OR max(run = :run));

-- name: unexplained
-- What was left out, and nobody wrote down why.
SELECT 'batch' AS what, id AS number, run FROM batch
 WHERE state IN ('refused', 'expired', 'cancelled', 'abandoned', 'in_doubt')
   AND coalesce(trim(reason), '') = '' AND (:run IS NULL OR run = :run)
UNION ALL
SELECT 'row', row, run FROM left_out
 WHERE trim(reason) = '' AND (:run IS NULL OR run = :run);

-- name: refused_together
-- Calls that the provider refused for bad data, and not each by itself.
SELECT batch.id AS batch, run, batch.calls FROM batch JOIN attempt ON attempt.batch = batch.id
 WHERE state = 'refused' AND n = attempts AND verdict = 'bad_data' AND batch.calls > 1
   AND (:run IS NULL OR run = :run);

-- ---- the limit that all processes share; schedule.py decides

-- name: open_bucket
INSERT INTO bucket (account, endpoint) VALUES (:account, :endpoint)
ON CONFLICT (account, endpoint) DO NOTHING;

-- name: bucket
SELECT last_at, calls_at, began_at, hold_until, ordered_requests, ordered_calls, throttle
  FROM bucket WHERE account = :account AND endpoint = :endpoint;

-- name: grant
-- Guarded by the slot that it continues from: two that decide at once can't both be granted.
UPDATE bucket
   SET last_at = :last_at, calls_at = :calls_at, began_at = :began_at, hold_until = :hold_until
 WHERE account = :account AND endpoint = :endpoint AND last_at = :after;

-- name: senders
SELECT owner, run, weight, requests, calls, headroom, next_at, waits, until
  FROM sender WHERE account = :account AND endpoint = :endpoint;

-- name: keep_sender
INSERT INTO sender (account, endpoint, owner, run, weight, requests, calls, headroom, next_at,
                    waits, until)
VALUES (:account, :endpoint, :owner, :run, :weight, :requests, :calls, :headroom, :next_at,
        :waits, :until)
ON CONFLICT (account, endpoint, owner) DO UPDATE
   SET run = excluded.run, weight = excluded.weight, requests = excluded.requests,
       calls = excluded.calls, headroom = excluded.headroom, next_at = excluded.next_at,
       waits = excluded.waits, until = excluded.until;

-- name: forget_senders
DELETE FROM sender
 WHERE account = :account AND endpoint = :endpoint AND (owner = :owner OR until < :before);

-- name: spent
SELECT at, calls FROM spent
 WHERE account = :account AND endpoint = :endpoint AND at > :since ORDER BY tick;

-- name: spend
INSERT INTO spent (account, endpoint, tick, at, calls)
VALUES (:account, :endpoint, :tick, :at, :calls)
ON CONFLICT (account, endpoint, tick) DO UPDATE
   SET at = max(at, excluded.at), calls = calls + excluded.calls;

-- name: forget_spent
DELETE FROM spent WHERE account = :account AND endpoint = :endpoint
   AND (tick < :oldest OR tick > :newest);

-- name: limits_noted
SELECT requests, calls FROM limit_change
 WHERE account = :account AND endpoint = :endpoint ORDER BY id DESC LIMIT 1;

-- name: note_limits
INSERT INTO limit_change (account, endpoint, at, steady, requests, calls, why)
VALUES (:account, :endpoint, :at, :steady, :requests, :calls, :why);

-- name: limit_changes
SELECT account, endpoint, at, steady, requests, calls, why FROM limit_change ORDER BY steady, id;

-- name: order_limits
UPDATE bucket SET ordered_requests = :requests, ordered_calls = :calls, throttle = :throttle
 WHERE account = :account AND endpoint = :endpoint;

-- name: let_through
-- What an endpoint was seen to take since a moment. (Whatever it answered, but for "too many".)
SELECT count(*) AS requests, coalesce(sum(batch.calls), 0) AS calls,
       min(steady_at) AS oldest, max(steady_at) AS newest
  FROM attempt INDEXED BY attempt_sent JOIN batch ON batch.id = attempt.batch
       JOIN run ON run.id = batch.run
 WHERE steady_at > :since AND account = :account AND endpoint = :endpoint
   AND verdict IN ('accepted', 'partial', 'repeated', 'bad_data', 'setup', 'account', 'unclear');

-- name: throttle
UPDATE bucket SET throttle = :throttle WHERE account = :account AND endpoint = :endpoint;

-- ---- contact data leaves; pruning.py

-- name: old_runs
SELECT id, calls, created_at, read_at, cancelled_at, control, kind FROM run
 WHERE pruned_at IS NULL AND created_at < :before ORDER BY id;

-- name: has_unsent
SELECT 1 WHERE
    EXISTS (SELECT 1 FROM batch INDEXED BY batch_ready WHERE run = :run AND state = 'ready')
    OR EXISTS (SELECT 1 FROM batch INDEXED BY batch_leased
                WHERE run = :run AND state IN ('claimed', 'sending'));

-- name: has_doubts
SELECT 1 WHERE EXISTS (SELECT 1 FROM batch INDEXED BY batch_in_doubt
                        WHERE run = :run AND state = 'in_doubt');

-- name: last_of_run
-- When the last thing happened to a run's calls; the end of the day at +05:30 on which the last of
-- those that were sent was to be made is one. (No bytes go out when their day is past, so from then
-- on their hash is needed no more.)
SELECT max(coalesce(max(settled_at), 0), coalesce(max(came_at), 0), coalesce(CAST(strftime('%s',
           max(start_date) FILTER (WHERE attempts > 0), '+1 day', '-330 minutes') AS REAL), 0))
  FROM batch WHERE run = :run;

-- name: bytes_of_run
SELECT coalesce((SELECT sum(length(body.calls) + coalesce(length(answer.body), 0))
                   FROM batch JOIN body ON body.batch = batch.id
                        LEFT JOIN answer ON answer.batch = batch.id
                  WHERE run = :run), 0)
     + coalesce((SELECT sum(length(fields) + length(contact_numbers)
                            + coalesce(length(client_identifier), 0))
                   FROM left_out WHERE run = :run), 0);

-- name: begin_pruning
-- From here on nobody reads its contact data. A list that was not read to its end is given up, as
-- the run was; single calls come to it no more.
UPDATE run
   SET pruned_at = :now, remains = 'data', definition = :definition,
       whole = CASE WHEN read_at IS NULL AND kind = 'list' THEN 0 ELSE whole END,
       read_at = coalesce(read_at, :now)
 WHERE id = :run AND pruned_at IS NULL;

-- name: pruned_runs
SELECT id, calls FROM run WHERE remains = :remains ORDER BY id;

-- name: full_bodies
SELECT batch.id, first_row, length(body.calls) + coalesce(length(answer.body), 0) AS bytes
  FROM batch INDEXED BY batch_by_row JOIN body ON body.batch = batch.id
       LEFT JOIN answer ON answer.batch = batch.id
 WHERE run = :run AND (first_row, batch.id) > (:row, :batch)
 ORDER BY first_row, batch.id LIMIT :limit;

-- name: delete_body
DELETE FROM body WHERE batch = ? AND rows IS NULL;

-- name: empty_body
-- Where rows of the list were left out in between, it says which ones the batch was made of.
UPDATE body SET calls = x'' WHERE batch = ?;

-- name: delete_answer
DELETE FROM answer WHERE batch = ?;

-- name: forget_hash
-- All numbers there are can be tried against the hash of a single call. What takes its place is
-- another for each batch, and stands in order: thousands at chance would touch all of the index.
UPDATE batch SET sha256 = CAST(printf('%032d', id) AS BLOB) WHERE id = ?;

-- name: next_left_out
SELECT max(row) AS last, sum(length(fields) + length(contact_numbers)
                             + coalesce(length(client_identifier), 0)) AS bytes
  FROM (SELECT row, fields, contact_numbers, client_identifier FROM left_out
         WHERE run = :run AND row > :row ORDER BY row LIMIT :limit);

-- name: empty_left_out
UPDATE left_out SET client_identifier = NULL, contact_numbers = '[]', fields = '{}'
 WHERE run = :run AND row > :row AND row <= :last;

-- name: next_orders
SELECT max(id) FROM (SELECT id FROM intake INDEXED BY intake_of_run
                      WHERE run = :run AND id > :after ORDER BY id LIMIT :limit);

-- name: empty_orders
-- A key may be a number, and a request is one call mostly.
UPDATE intake SET key = NULL, request = zeroblob(32)
 WHERE id IN (SELECT id FROM intake INDEXED BY intake_of_run
               WHERE run = :run AND id > :after AND id <= :last);

-- name: end_pruning
UPDATE run SET remains = 'traces' WHERE id = :run AND remains = 'data';

-- name: no_traces
UPDATE run SET remains = NULL WHERE id = :run AND remains = 'traces';

-- name: pruned_since
SELECT * FROM run
 WHERE campaign = :campaign AND account = :account AND created_at >= :since
   AND id IS NOT :but_not AND pruned_at IS NOT NULL AND calls > 0 ORDER BY id;
