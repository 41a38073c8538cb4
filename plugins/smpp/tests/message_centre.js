// A message centre made with npm's package smpp, which has nothing in common with the plugin.
//
//     node message_centre.js '{"system_id": "gatepost", "password": "secret", ...}'
//
// It prints its port as a line of JSON. For each line on its standard input it prints its state as a line of JSON;
// "cut" closes every connection first. It ends with its standard input.
//
// storm: receipts come early, late, doubled and in any order, and connections are cut with messages in hand.

'use strict';
const smpp = require('smpp');
const readline = require('readline');
const fs = require('fs');

const options = JSON.parse(process.argv[2]);
const WINDOW = options.window || 10;
const sessions = new Set();
const waiting = []; // receipts that can be delivered now
const state = { taken: {}, cut: {}, messages: [], receipts: 0, acknowledged: 0, refused: 0, cuts: 0, binds: 0, stops: [] };
let seed = options.seed || 1;
let number = 0x10000;

function random() {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
}

function receiptOf(submission, id) {
  const stat = submission.destination_addr.endsWith('7') ? 'UNDELIV' : 'DELIVRD';
  const padded = String(id).padStart(12, '0');
  return {
    source_addr_ton: 1, source_addr_npi: 1, source_addr: submission.destination_addr,
    destination_addr: submission.source_addr, esm_class: 4,
    short_message: `id:${padded} sub:001 dlvrd:001 submit date:2611280101 done date:2611280102 stat:${stat} err:000 text:x`,
  };
}

// A receipt that is not acknowledged is delivered again, on whatever bind there is.
function deliver(receipt) {
  const bound = [...sessions].filter((one) => one.bound && one.outstanding.size < WINDOW);
  if (!bound.length) {
    waiting.push(receipt);
    return;
  }
  const session = bound[Math.floor(random() * bound.length)];
  session.outstanding.add(receipt);
  state.receipts += 1;
  const sent = session.deliver_sm(receipt, (answer) => {
    session.outstanding.delete(receipt);
    if (answer.command_status === 0) {
      state.acknowledged += 1;
    } else {
      state.refused += 1;
      setTimeout(deliver, 200, receipt);
    }
    if (waiting.length) deliver(waiting.splice(Math.floor(random() * waiting.length), 1)[0]);
  });
  if (!sent && session.outstanding.delete(receipt)) waiting.push(receipt);
}

function pump() {
  for (let left = waiting.length; left; left -= 1) deliver(waiting.shift());
}

function cut(session) {
  state.cuts += 1;
  // Of the last ones the client may not have the answers.
  for (const to of session.last) state.cut[to] = true;
  session.socket.destroy();
}

function take(session, pdu) {
  const to = pdu.destination_addr;
  session.last.push(to);
  if (session.last.length > 2 * WINDOW) session.last.shift();
  state.taken[to] = (state.taken[to] || 0) + 1;
  // It was in hand when the connection was cut.
  if (session.socket.destroyed) state.cut[to] = true;
  if (!options.storm) {
    const { source_addr, source_addr_ton, data_coding, esm_class, registered_delivery, validity_period } = pdu;
    const content = pdu.message_payload ? pdu.message_payload : pdu.short_message;
    const udh = content.udh ? content.udh.map((one) => one.toString('hex')) : [];
    state.messages.push({
      source_addr, source_addr_ton, to, data_coding, esm_class, registered_delivery, validity_period, udh,
      text: content.message, payload: Boolean(pdu.message_payload),
    });
  }
  number += 1;
  const id = number;
  const answer = () => session.send(pdu.response({ message_id: id.toString(16).toUpperCase() }));
  const receipts = pdu.registered_delivery & 1 ? [receiptOf(pdu, id)] : [];
  if (!options.storm) {
    answer();
    receipts.forEach(deliver);
    return;
  }
  // Never twice with the same message in hand: the gateway would then hold it for its operator.
  if (random() < options.storm.cut && !session.last.some((one) => state.cut[one])) {
    receipts.forEach(deliver);
    cut(session);
    return;
  }
  const how = random();
  if (how < 0.1) receipts.push({ ...receipts[0] });
  if (how > 0.95) {
    receipts.forEach(deliver); // before the answer
    answer();
  } else {
    answer();
    receipts.forEach((one) => setTimeout(deliver, random() * options.storm.latest, one));
  }
}

const tls = options.key ? { key: fs.readFileSync(options.key), cert: fs.readFileSync(options.cert) } : {};
const server = smpp.createServer(tls, (session) => {
  session.last = [];
  session.outstanding = new Set();
  sessions.add(session);
  session.on('error', () => session.socket.destroy());
  session.on('close', () => {
    sessions.delete(session);
    waiting.push(...session.outstanding);
    session.outstanding.clear();
  });
  session.on('bind_transceiver', (pdu) => {
    const right = pdu.system_id === options.system_id && pdu.password === options.password;
    session.bound = right;
    state.binds += right;
    session.send(pdu.response(right ? { system_id: 'centre' } : { command_status: smpp.ESME_RINVPASWD }));
    pump();
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => session.send(pdu.response(), () => session.close()));
  session.on('submit_sm', (pdu) => take(session, pdu));
});
setInterval(pump, 50);

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'cut') [...sessions].forEach(cut);
  const stop = line.match(/^stop (\d+)$/);
  if (stop) {
    deliver({ source_addr_ton: 1, source_addr_npi: 1, source_addr: stop[1], destination_addr: '447700900000', short_message: 'Stop' });
  }
  const outstanding = waiting.length + [...sessions].reduce((sum, one) => sum + one.outstanding.size, 0);
  console.log(JSON.stringify({ ...state, outstanding }));
}).on('close', () => process.exit(0));
