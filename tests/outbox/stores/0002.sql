-- What a store at revision 0002 holds; tests/old_store.py runs it. Of ten messages, numbered from 0, five wait (0 to 4), two are
-- sent and told (5, 6), one is sent and not told yet (7), one has failed (8), and of one the answer was lost (9).
-- The text never changes: it says what an old version has written, not what today's code writes.

INSERT INTO queues (id, channel, route, client) VALUES (1, 'sms', '', 'brand');

INSERT INTO messages (id, client, channel, uid, queue, country, fingerprint, ext_user_id, preview, callback_url, state, due_at,
    created_at, expires_at, ended_at, attempt, holder, lost_answers, passed, deaths, instance, reason, code)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count)
SELECT '01a00000-0000-7000-8000-' || CAST(100000000000 + n AS TEXT), 'brand', 'sms', 'uid-' || CAST(n AS TEXT), 1, 'GB',
    :fingerprint, 'user-' || CAST(n % 1000 AS TEXT), '', 'https://crm.example/status?n=' || CAST(n AS TEXT),
    CASE WHEN n % 10 < 5 THEN 'queued' WHEN n % 10 < 8 THEN 'sent' WHEN n % 10 = 8 THEN 'failed' ELSE 'uncertain' END,
    CASE WHEN n % 10 < 5 THEN :now - 1000 WHEN n % 10 = 9 THEN :now + 3600000 END,
    :now - 60000, :now + 86400000,
    CASE WHEN n % 10 IN (5, 6, 7, 8) THEN :now - 30000 END,
    CASE WHEN n % 10 < 5 THEN 0 ELSE 1 END, CASE WHEN n % 10 < 5 THEN '' ELSE 'replica' END,
    CASE WHEN n % 10 = 9 THEN 1 ELSE 0 END, '', 0, CASE WHEN n % 10 < 5 THEN '' ELSE 'relay' END,
    CASE WHEN n % 10 = 8 THEN 'refused' ELSE '' END, ''
FROM numbers;

INSERT INTO contents (message_id, content)
SELECT id, :content FROM messages WHERE state <> 'sent';

INSERT INTO attempts (message_id, attempt, position, instance, choice, outcome, provider_id, reason, code, started_at, duration,
    parts, counted_parts, not_gsm7, price, currency)
SELECT id, 1, 0, 'relay', '', CASE state WHEN 'sent' THEN 'sent' WHEN 'failed' THEN 'unavailable' ELSE 'uncertain' END,
    CASE state WHEN 'sent' THEN 'provider-' || uid END, CASE state WHEN 'failed' THEN 'refused' ELSE '' END, '', :now - 31000,
    12, 1, 0, '', '0.04', 'EUR'
FROM messages WHERE state <> 'queued';

INSERT INTO statuses (message_id, status, code, recorded_at, reporter, callback_state, due_at, attempt, holder, client, target,
    called_at, http_status, problem)
SELECT id, CASE state WHEN 'sent' THEN 'accepted' ELSE 'failed' END, '', :now - 30000, '',
    CASE WHEN id LIKE '%7' THEN 'queued' ELSE 'acknowledged' END, CASE WHEN id LIKE '%7' THEN :now - 1000 END,
    CASE WHEN id LIKE '%7' THEN 0 ELSE 1 END, CASE WHEN id LIKE '%7' THEN '' ELSE 'replica' END, 'brand', 'crm.example:443',
    CASE WHEN id LIKE '%7' THEN NULL ELSE :now - 29000 END, CASE WHEN id LIKE '%7' THEN 0 ELSE 200 END, ''
FROM messages WHERE state IN ('sent', 'failed') ORDER BY id;

INSERT INTO counters (period, scope, shard, value) VALUES (0, 'queued/brand', '', :count * 6 / 10);

INSERT INTO suppressions (client, ext_user_id, reason, actor, created_at, ends_at)
VALUES ('brand', 'suppressed', 'by mail', 'root', :now - 60000, NULL);

INSERT INTO refusals (refused_at, client, channel, uid, ext_user_id, code, reason)
VALUES (:now - 60000, 'brand', 'sms', 'refused', 'suppressed', 14, 'suppressed');

INSERT INTO plugin_state (instance, key, value) VALUES ('relay', 'position', '4711');

INSERT INTO alert_states (scope, state, problems) VALUES ('alerts', '{}', '');
