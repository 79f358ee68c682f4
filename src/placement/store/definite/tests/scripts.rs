//! Tests of the scripts that are taken for definite.

use super::super::script::is_definite;
use super::super::{Definite, WriteCall, definite};
use crate::command::Command;
use crate::describe::Description;

#[test]
fn scripts_of_definite_commands_are_definite() {
    for script in [
        "",
        "return redis.call('INCR', KEYS[1])",
        "#!lua flags=allow-stale\nreturn server.call('get', KEYS[1])",
        "local c = redis.call('GET', KEYS[1]) if c == ARGV[1] then return redis.call('SET', KEYS[1], ARGV[2]) else return 0 end",
        "local n = tonumber(redis.call('GET', KEYS[1]) or '0') if n < tonumber(ARGV[1]) then redis.call('INCRBY',KEYS[1],1) end return {n, n + 1}",
        "for i, key in ipairs(KEYS) do redis.call('DEL', key) end return #KEYS",
        "local function f(a, b) return a .. b end redis.call('APPEND', KEYS[1], f('x', ARGV[1])) return {ok='DONE'}",
        "redis.call('set', KEYS[1], ARGV[1], 'NX', 'GET') --[[ redis.call('TIME') ]] -- math.random()\nreturn [==[ os.time() ]==]",
        "local t = cjson.decode(ARGV[1]) table.insert(t, 1) redis.call('SADD', KEYS[1], unpack(t)) return redis.status_reply('OK')",
        "local s = string.format('%d', math.floor(1.5e+3)) return s:sub(1, 2) .. 'a\\'b'",
        "return redis.pcall('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2])",
    ] {
        assert!(is_definite(script.as_bytes()), "{script}");
    }
}

#[test]
fn whatever_else_a_script_does_it_is_not() {
    for script in [
        "return redis.call('TIME')",
        "return redis.call('SPOP', KEYS[1])",
        "return redis.call('SMEMBERS', KEYS[1])",
        "return redis.call('HGETALL', KEYS[1])",
        "return redis.call('EXPIRE', KEYS[1], 10)",
        "return redis.call('FLUSHALL')",
        "return redis.call('PUBLISH', 'c', 'm')",
        "return redis.call('SET', KEYS[1], ARGV[1], 'EX', 10)",
        "return redis.call('SET', KEYS[1], ARGV[1], ARGV[2])",
        "return redis.call('SET', KEYS[1], unpack(ARGV))",
        "return redis.call('SET', KEYS[1], 'a', 'NX' .. '')",
        "return redis.call(ARGV[1], KEYS[1])",
        "return redis.call('IN' .. 'CR', KEYS[1])",
        "return redis.call'TIME'",
        "return redis['call']('TIME')",
        "local c = redis.call return c('TIME')",
        "local r = redis return r.call('TIME')",
        "return pcall(redis.call, 'TIME')",
        "return redis.call('INC\\82', KEYS[1])",
        "return math.random(10)",
        "local m = math return m.random(10)",
        "return math['random'](10)",
        "return math.sin(1)",
        "return 2 ^ 0.5",
        "for k, v in pairs({}) do end",
        "return next({})",
        "return tostring({})",
        "return cjson.encode({a = 1})",
        "return os.clock()",
        "return _G.redis.call('TIME')",
        "return loadstring('return 1')()",
        "return string.dump(function() end)",
        "return ('x').dump",
        "return unknown",
        "redis.setresp(3)",
        "return 'not ended",
        "return [[not ended",
        "return $",
    ] {
        assert!(!is_definite(script.as_bytes()), "{script}");
    }
}

#[test]
fn a_script_that_is_named_runs_by_its_text() {
    let command = Command::from_args("EVALSHA sha 1 k arg".split(' ')).unwrap();
    let description = Description { name: "evalsha".into(), arity: -3, ..Description::default() };
    let made = |script: Option<&'static str>| {
        let script = script.map(str::as_bytes);
        match definite(&WriteCall { command: &command, description: &description, keys: &[3], script }, 1) {
            Ok(Definite::Rewritten(rewritten)) => rewritten.command.to_string(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(made(Some("return 1")), "eval return 1 1 k arg");
    assert!(made(Some("return os.time()")).starts_with("Ok(CarryOver"));
    assert!(made(None).starts_with("Ok(CarryOver"));
}
