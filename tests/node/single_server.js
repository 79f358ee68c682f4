// A program as it is written for a single server, with the client `redis`: it knows host, port and protocol.
//
// It prints what it has seen, so that two runs can be compared; what it can know beforehand is checked as well.
'use strict';

const assert = require('node:assert');
const { createClient } = require('redis');

const [port, protocol] = process.argv.slice(2).map(Number);

async function see(what, value, expected) {
  const seen = await value;
  console.log(`${what}: ${JSON.stringify(seen)}`);
  if (expected !== undefined) assert.deepEqual(JSON.parse(JSON.stringify(seen)), expected, what);
}

async function refused(what, work) {
  try {
    await work();
  } catch (error) {
    console.log(`${what}: ${error.message}`);
    return;
  }
  assert.fail(`${what} was not refused`);
}

async function main() {
  const client = createClient({ socket: { port }, RESP: protocol, name: 'program' });
  client.on('error', (error) => { throw error; });
  await client.connect();
  await client.flushAll();
  await see('set', client.set('greeting', 'hello'), 'OK');
  await see('get', client.get('greeting'), 'hello');
  await see('nothing', client.get('nothing'), null);
  // In one write each: the client sends what is asked for in one turn together.
  const numbers = [...Array(200).keys()];
  await Promise.all(numbers.map((number) => client.set(`key:${number}`, String(number))));
  await see('many', Promise.all(numbers.map((number) => client.get(`key:${number}`))), numbers.map(String));
  await see('mget', client.mGet(['key:1', 'nothing', 'key:199']), ['1', null, '199']);
  await see('del', client.del(['key:1', 'key:2', 'nothing']), 2);
  await see('size', client.dbSize(), 199);
  await client.hSet('hash', { f: 'v', g: 'w' });
  await see('hash', client.hGetAll('hash'), { f: 'v', g: 'w' });
  await see('ranks', client.zAdd('rank', [{ score: 1.5, value: 'x' }, { score: 2, value: 'y' }]), 2);
  await see('with scores', client.zRangeWithScores('rank', 0, -1), [{ value: 'x', score: 1.5 }, { value: 'y', score: 2 }]);
  await see('stream', client.xAdd('events', '5-1', { kind: 'start' }), '5-1');
  const found = [];
  for await (const keys of client.scanIterator({ COUNT: 20 })) found.push(...[].concat(keys));
  await see('each key once', [found.length, new Set(found).size], [202, 202]);
  await see('transaction', client.multi().set('{t}a', '1').incr('{t}a').get('{t}a').exec(), ['OK', 2, '2']);
  await refused('wrong type', () => client.incr('hash'));
  await refused('unknown', () => client.sendCommand(['NOSUCH', 'a']));
  await see('script', client.eval('return {KEYS[1], ARGV[1]}', { keys: ['any'], arguments: ['word'] }), ['any', 'word']);
  const subscriber = await client.duplicate().connect();
  const heard = new Promise((resolve) => subscriber.subscribe('news', (message) => resolve(message)));
  await see('publish', (async () => { while (!(await Promise.race([heard, publish(client)]))); return heard; })(), 'hello');
  const waiting = await client.duplicate().connect();
  const popped = waiting.blPop('list', 10);
  await client.rPush('list', 'a');
  await see('waited', popped, { key: 'list', element: 'a' });
  await see('name', client.clientGetName(), 'program');
  await see('echo', client.echo('x'), 'x');
  await Promise.all([subscriber.unsubscribe('news'), client.flushAll()]);
  for (const each of [subscriber, waiting, client]) each.destroy();
  console.log('done');
}

async function publish(client) {
  await client.publish('news', 'hello');
  await new Promise((resolve) => setTimeout(resolve, 20));
}

main().catch((error) => { console.error(error); process.exit(1); });
