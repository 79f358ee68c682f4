// A program as it is written for a single server, with the client `ioredis`, which pipelines all by itself.
'use strict';

const assert = require('node:assert');
const Redis = require('ioredis');

const port = Number(process.argv[2]);

async function see(what, value, expected) {
  const seen = await value;
  console.log(`${what}: ${JSON.stringify(seen)}`);
  if (expected !== undefined) assert.deepEqual(seen, expected, what);
}

async function main() {
  // It asks INFO before it says that it is ready.
  const redis = new Redis({ port, enableAutoPipelining: true, connectionName: 'program', maxRetriesPerRequest: 2 });
  await redis.flushall();
  await see('set', redis.set('greeting', 'hello'), 'OK');
  const numbers = [...Array(200).keys()];
  await Promise.all(numbers.map((number) => redis.set(`key:${number}`, number)));
  await see('many', Promise.all(numbers.map((number) => redis.get(`key:${number}`))), numbers.map(String));
  const answers = await redis.pipeline().set('a', 1).get('a').lpush('a', 'x').mget('a', 'key:7', 'nothing').exec();
  await see('pipeline', answers.map(([error, value]) => (error ? error.message : value)));
  await see('transaction', redis.multi().set('{t}a', 1).incr('{t}a').exec(), [[null, 'OK'], [null, 2]]);
  await redis.watch('{t}a');
  await redis.set('{t}a', 5);
  await see('changed meanwhile', redis.multi().incr('{t}a').exec(), null);
  redis.defineCommand('add', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  await see('script', Promise.all([redis.add('n:1', 10), redis.add('n:2', 20), redis.add('n:1', 5)]), [10, 20, 15]);
  const found = [];
  for await (const keys of redis.scanStream({ count: 20 })) found.push(...keys);
  await see('each key once', [found.length, new Set(found).size], [205, 205]);
  await see('size', redis.dbsize(), 205);
  await see('hash', redis.hset('hash', { f: 'v' }).then(() => redis.hgetall('hash')), { f: 'v' });
  await see('buffer', redis.set('bytes', Buffer.from([0, 13, 10, 255])).then(() => redis.getBuffer('bytes')));
  const subscriber = redis.duplicate();
  await subscriber.psubscribe('new*');
  const heard = new Promise((resolve) => subscriber.on('pmessage', (pattern, channel, text) => resolve([pattern, channel, text])));
  await redis.publish('news', 'hello');
  await see('heard', heard, ['new*', 'news', 'hello']);
  const waiting = redis.duplicate();
  const popped = waiting.blpop('list', 10);
  await redis.rpush('list', 'a');
  await see('waited', popped, ['list', 'a']);
  await see('name', redis.client('GETNAME'), 'program');
  await redis.flushall();
  await Promise.all([redis, subscriber, waiting].map((each) => each.quit()));
  console.log('done');
}

main().catch((error) => { console.error(error); process.exit(1); });
