#!lua name=pirn1
-- Pirn's Redis Functions. The version of the interface is in the library's name: a change that an
-- older Pirn would not survive makes a pirn2 beside it. Within pirn1 things are only added, and the
-- revision grows by one each time: a connection replaces an older revision, never a newer one.
--
-- Rules. Redis does not undo what a Function wrote before it failed: each one validates first and
-- writes last. Every key it touches is named in its KEYS. Numbers are compared as bytes or kept
-- below 2^53: Lua's lose precision above that. Replies: a number or an array of strings; errors are
-- "CODE text" with a code of our own, or Redis's.
local revision = 1

-- Runs one command for its reply; an error comes back as a value, with Redis's own code in front.
local function run(...)
	return redis.pcall(...)
end

local function failed(reply)
	return type(reply) == 'table' and reply.err ~= nil
end

-- ---- state of services

-- KEYS: key. ARGV: '1' and the expected value, or '0' and '' for "absent"; new value; time to live in
-- milliseconds, 0 for none. Reply: 1, or 0 when another value (or none, or one) is there.
local function cas(keys, args)
	if #keys ~= 1 or #args ~= 4 then
		return redis.error_reply('ARGS key, has, expected, value, ttl_ms')
	end
	local ttl = tonumber(args[4])
	if not ttl or ttl < 0 then
		return redis.error_reply('ARGS ttl_ms')
	end
	local stored = run('GET', keys[1])
	if failed(stored) then
		return stored
	end
	local expected = false
	if args[1] == '1' then
		expected = args[2]
	end
	if stored ~= expected then
		return 0
	end
	local done
	if ttl > 0 then
		done = run('SET', keys[1], args[3], 'PX', args[4])
	else
		done = run('SET', keys[1], args[3])
	end
	if failed(done) then
		return done
	end
	return 1
end

-- ---- registry of services

-- KEYS: the registry's hash, its version. ARGV: service; packed entry, '' to drop it. Reply: the new
-- version. One step, so that no change is ever there under the old version.
local function registry(keys, args)
	if #keys ~= 2 or #args ~= 2 or args[1] == '' then
		return redis.error_reply('ARGS registry, version, service, entry')
	end
	local done
	if args[2] == '' then
		done = run('HDEL', keys[1], args[1])
	else
		done = run('HSET', keys[1], args[1], args[2])
	end
	if failed(done) then
		return done
	end
	return run('INCR', keys[2])
end

redis.register_function{
	function_name = 'pirn1_revision',
	callback = function() return revision end,
	flags = {'no-writes', 'allow-stale'},
}
redis.register_function{ function_name = 'pirn1_cas', callback = cas }
redis.register_function{ function_name = 'pirn1_registry', callback = registry }
