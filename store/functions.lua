#!lua name=pirn1
-- Pirn's Redis Functions. The version of the interface is in the library's name: a change that an
-- older Pirn would not survive makes a pirn2 beside it. Within pirn1 things are only added, and the
-- revision grows by one each time: a connection replaces an older revision, never a newer one.
--
-- Rules. Redis does not undo what a Function wrote before it failed: each one validates first and
-- writes last. Every key it touches is named in its KEYS. Numbers are compared as bytes or kept
-- below 2^53: Lua's lose precision above that. Replies: a number or an array of strings; errors are
-- "CODE text" with a code of our own, or Redis's.
--
-- The delivery protocol (store/journal.h says it as a table). Redis runs a Function whole, so that each
-- is one step; what the steps lean on:
--
-- Owners. `owners` is epoch → beat. Beat 0 is a broker that has left: it is fenced as if it were not
-- there, and whoever saw that 0 may adopt it at once. `journals` is journal → epoch, with a "+" behind
-- it when the journal was adopted: such a one is read, settled and dropped, nothing is appended to it.
-- A journal's name is the epoch that made it. FENCED carries the counter `epoch`: one that is below the
-- caller's own means that Redis lost its data.
--
-- Entries. Id <epoch>-<turn>; fields t (when it was written, Redis's time), h, b (store/entry.h); or t, H, B,
-- in which what its events have in common stands once (store/shared.h), and which are read as h, b. XADD is
-- the first thing that is written: a turn that was there before is REPEATED, and nothing else happened.
-- done:<J> is entry → bitmap of ended deliveries, '' while none has: an entry gets its field when it is
-- written, because to look it up in the stream is to read it whole. A delivery that must end is checked
-- against it; where there is no field (redrive writes none), against the stream: SETTLED. An entry whose
-- bits are full goes, with its field.
--
-- Keys of events. One with a time of its own (a CloudEvent's source and id) is a field of a bucket, known:<at>,
-- scope:key → id and hash, which is left out when it is zero. A bucket goes whole, at the second <at>, when the
-- last of its keys may: so a key is known for its time, and up to a quarter longer; and hundreds are looked up by
-- one command a bucket, of which there are a handful, and written by one. Which there are tells `dedupe-size`;
-- these are the only keys that no caller can name. Other keys, which calls share, have a hash each.
--
-- Bounds. Keys of both kinds are counted in bytes, by the time at which they go, in `dedupe-size`: <at> →
-- bytes, known:<at> → bytes; what does not fit is FULL, with all that has its fate. Results lie in a ring
-- of 32 groups, results:0 to results:31; a group is closed when it holds an eighth of results_max or is
-- an eighth of result_ttl old, and the oldest goes when all hold more than results_max. A group is a
-- hash, id → cmsgpack {service → bytes}, and strings of many results each (results_blob), whose names
-- stand in results:<n>:blobs by the time of the last id in them: a result that has a field of its own
-- costs Redis three times as much, and hardly one in a thousand is asked for. `results` tells which there
-- are.
--
-- Dead letters: dead:<service> is id → a head of one event, ready to go back (the attempt counted on,
-- the budget anew); dead-body:<service> is id → its payload. Heads append to one another.
--
-- Operation records, ops:<id>:<service>: ":run" the highest run, 8 bytes, attempt and epoch big-endian,
-- compared in halves; ":size" bytes so far; "o" and a field: the record of one operation, which is a
-- letter and a value: i number, s string, n nothing, o done, e code of a failure (TYPE, OVERFLOW), a
-- strings, each behind its size in 4 bytes.
local revision = 15

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

-- ---- the delivery protocol: what all share

local LANE_MS, DAY_MS = 600000, 86400000
local RESULT_GROUPS = 32
local RESULT_SPREAD = 1000 -- milliseconds between the ids of a blob, at most
local OPS_MAX, OPS_BYTES = 1000, 262144
local EVENT_BYTES = 256 -- what a dedupe key costs, about, besides its name
local KNOWN_BYTES = 128 -- and one that stands in a bucket
local KNOWN_GRACE = 60 -- seconds: when nothing is stored any more that would forget a bucket

local function refuse(code, detail)
	return redis.error_reply(code .. ' ' .. detail)
end

local function text(number)
	return string.format('%.0f', number)
end

local function now_ms()
	local time = redis.call('TIME')
	return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A field for each pair of a reply such as HGETALL's.
local function pairs_of(flat)
	local map = {}
	for i = 1, #flat, 2 do
		map[flat[i]] = flat[i + 1]
	end
	return map
end

local function chunks(list, size, fn)
	for from = 1, #list, size do
		fn(unpack(list, from, math.min(from + size - 1, #list)))
	end
end

-- Every Function that works under an epoch begins its KEYS with owners, journals, epoch.
local function is_owner(keys, epoch)
	local beat = redis.call('HGET', keys[1], epoch)
	return beat and beat ~= '0'
end

local function fenced(keys)
	return refuse('FENCED', redis.call('GET', keys[3]) or '0')
end

local function owns(keys, epoch, journal)
	return is_owner(keys, epoch) and redis.call('HGET', keys[2], journal) == epoch
end

-- The first write of whoever calls it. Reply: nil, or an error when nothing was written.
local function append(stream, epoch, turn, now, head, body, shared)
	local id = epoch .. '-' .. turn
	local done = run('XADD', stream, id, 't', text(now), shared and 'H' or 'h', head, shared and 'B' or 'b', body)
	if not failed(done) then
		return nil
	end
	if string.sub(done.err, 1, 4) == 'ERR ' then -- with an id that is well formed: it is not above the top
		return refuse('REPEATED', id)
	end
	return done
end

-- The piece that begins at `at` (store/shared.h) as it was, its data, and where the next one begins.
local function piece_at(pieces, at, before, has_data)
	local unpack_bytes, sub = struct.unpack, string.sub
	local parts, n, from, done, data = {}, 0, 0, 0, 0
	local size, same, other
	if has_data then
		size, data, at = unpack_bytes('>I2I4', pieces, at)
	else
		size, at = unpack_bytes('>I2', pieces, at)
	end
	while done < size do
		same, other, at = unpack_bytes('>I2I2', pieces, at)
		parts[n + 1] = sub(before, from + done + 1, from + done + same)
		parts[n + 2] = sub(pieces, at, at + other - 1)
		n, at, done, from = n + 2, at + other, done + same + other, #before - size
	end
	return table.concat(parts), sub(pieces, at, at + data - 1), at + data
end

-- Pieces of which each is like the one before, as they were.
local function whole(pieces, has_data)
	local all, n, piece, at = {}, 0, '', 1
	while at <= #pieces do
		piece, all[n + 2], at = piece_at(pieces, at, piece, has_data)
		all[n + 1] = piece
		n = n + 2
	end
	return table.concat(all)
end

-- Head and body of an entry, by its fields.
local function entry_parts(fields)
	if fields[3] == 'H' then
		return whole(fields[4], false), whole(fields[6], true)
	end
	return fields[4], fields[6]
end

-- ---- bitmaps, as SETBIT counts: bit 0 is the highest of the first byte

local ones = {} -- how many bits of a byte are set
for byte = 0, 255 do
	ones[byte] = byte == 0 and 0 or byte % 2 + ones[(byte - byte % 2) / 2] -- math is not there yet
end

-- Adds the bits from first to last to `bytes` (number of the byte, from 1 on → its bits). False when one
-- of them is there already, or in the bitmap.
local function take_bits(bytes, bitmap, first, last)
	for at = math.floor(first / 8), math.floor(last / 8) do
		local mask = 255
		if at * 8 < first then
			mask = bit.rshift(mask, first - at * 8)
		end
		if at * 8 + 7 > last then
			mask = bit.band(mask, bit.lshift(255, at * 8 + 7 - last))
		end
		local mine = bytes[at + 1] or 0
		if bit.band(bit.bor(mine, string.byte(bitmap, at + 1) or 0), mask) ~= 0 then
			return false
		end
		bytes[at + 1] = bit.bor(mine, mask)
	end
	return true
end

-- The bitmap of n bits with those of `bytes`, and how many are set in it.
local function with_bits(bitmap, n, bytes)
	local all, count = {}, 0
	for i = 1, math.ceil(n / 8) do
		local byte = bit.bor(string.byte(bitmap, i) or 0, bytes[i] or 0)
		count = count + ones[byte]
		all[i] = string.char(byte)
	end
	return table.concat(all), count
end

-- ---- bounded keys: bytes of dedupe keys by the time at which they go

-- In seconds: at the end of the minute, or of the hour when it lives for an hour or longer.
local function dedupe_field(now, ttl)
	local step = ttl < 3600000 and 60 or 3600
	return text((math.floor((now + ttl) / 1000 / step) + 1) * step)
end

-- The same of a bucket. Its keys come from the time of a step: the largest power of two seconds that is a
-- quarter of what they live, at most. So there are nine of them, whatever they live.
local function known_field(now, ttl)
	local step = 1
	while step * 8000 <= ttl do
		step = step * 2
	end
	return 'known:' .. text((math.floor((now + ttl) / 1000 / step) + 1) * step)
end

-- What stands in dedupe-size: the bytes of what lives, the fields whose time is over, the buckets that
-- live, and whether any key that lives has a hash of its own.
local function dedupe_read(key, now)
	local size = { used = 0, old = {}, known = {}, single = false }
	for field, bytes in pairs(pairs_of(redis.call('HGETALL', key))) do
		local bucket = string.match(field, '^known:(.*)')
		if tonumber(bucket or field) * 1000 <= now then
			table.insert(size.old, field)
		else
			size.used = size.used + tonumber(bytes)
			if bucket then
				size.known[field] = true
			else
				size.single = true
			end
		end
	end
	return size
end

-- The name of a key that stands beside dedupe-size.
local function beside(key, name)
	return string.sub(key, 1, -1 - #'dedupe-size') .. name
end

local function dedupe_add(key, field, bytes)
	if bytes > 0 then
		redis.call('HINCRBY', key, field, bytes)
	end
end

-- Redis would free a large bucket in one go when its expiry comes: UNLINK does it beside its work.
local function dedupe_forget(key, old)
	for _, field in ipairs(old) do
		redis.call('HDEL', key, field)
		if string.sub(field, 1, 6) == 'known:' then
			redis.call('UNLINK', beside(key, field))
		end
	end
end

-- ---- owners and journals

-- KEYS: owners, journals, epoch. ARGV: old epoch, or ''. Reply: Redis's time, new epoch, own journal,
-- adopted journals. FENCED: the old one does not own any more.
local function open(keys, args)
	local old = args[1]
	local beat = '1'
	if old ~= '' then
		if not is_owner(keys, old) then
			return fenced(keys)
		end
		beat = redis.call('HGET', keys[1], old)
	end
	local journals = pairs_of(redis.call('HGETALL', keys[2]))
	local epoch = text(redis.call('INCR', keys[3]))
	local own, adopted = nil, {}
	for journal, owner in pairs(journals) do
		if old ~= '' and owner == old then
			own = journal
			redis.call('HSET', keys[2], journal, epoch)
		elseif old ~= '' and owner == old .. '+' then
			table.insert(adopted, journal)
			redis.call('HSET', keys[2], journal, epoch .. '+')
		end
	end
	if not own then
		own = epoch
		redis.call('HSET', keys[2], own, epoch)
	end
	if old ~= '' then
		redis.call('HDEL', keys[1], old)
	end
	redis.call('HSET', keys[1], epoch, beat)
	return { text(now_ms()), epoch, own, unpack(adopted) }
end

-- KEYS: owners, journals, epoch. ARGV: epoch. Reply: Redis's time, number of owners, each with its beat,
-- then each journal with its owner.
local function beat(keys, args)
	if not is_owner(keys, args[1]) then
		return fenced(keys)
	end
	redis.call('HINCRBY', keys[1], args[1], 1)
	local owners, journals = redis.call('HGETALL', keys[1]), redis.call('HGETALL', keys[2])
	local reply = { text(now_ms()), text(#owners / 2) }
	for _, word in ipairs(owners) do
		table.insert(reply, word)
	end
	for _, word in ipairs(journals) do
		table.insert(reply, word)
	end
	return reply
end

-- KEYS: owners, journals, epoch. ARGV: epoch, victim, the victim's beat as it was seen. Reply: the
-- journals that changed hands, none when the victim beat meanwhile or is not there.
local function adopt(keys, args)
	local epoch, victim = args[1], args[2]
	if not is_owner(keys, epoch) then
		return fenced(keys)
	end
	if epoch == victim then
		return refuse('ARGS', 'victim')
	end
	local taken = {}
	if redis.call('HGET', keys[1], victim) ~= args[3] then
		return taken
	end
	for journal, owner in pairs(pairs_of(redis.call('HGETALL', keys[2]))) do
		if owner == victim or owner == victim .. '+' then
			table.insert(taken, journal)
			redis.call('HSET', keys[2], journal, epoch .. '+')
		end
	end
	redis.call('HDEL', keys[1], victim)
	return taken
end

-- KEYS: owners, journals, epoch. ARGV: epoch. The beat becomes 0, so that the others adopt at once; an
-- epoch without journals goes. Reply: the number of journals left to adopt.
local function leave(keys, args)
	local epoch, left = args[1], 0
	if not is_owner(keys, epoch) then
		return fenced(keys)
	end
	for _, owner in pairs(pairs_of(redis.call('HGETALL', keys[2]))) do
		if owner == epoch or owner == epoch .. '+' then
			left = left + 1
		end
	end
	if left > 0 then
		redis.call('HSET', keys[1], epoch, '0')
	else
		redis.call('HDEL', keys[1], epoch)
	end
	return left
end

-- KEYS: owners, journals, epoch, stream, done. ARGV: epoch, journal. An adopted journal that is empty
-- goes; FENCED when it is not an adopted one of this epoch. Reply: 1, or 0 when it is not empty.
local function drop(keys, args)
	if not is_owner(keys, args[1]) or redis.call('HGET', keys[2], args[2]) ~= args[1] .. '+' then
		return fenced(keys)
	end
	if redis.call('XLEN', keys[4]) > 0 then
		return 0
	end
	redis.call('UNLINK', keys[4], keys[5])
	redis.call('HDEL', keys[2], args[2])
	return 1
end

-- KEYS: stream, done. ARGV: the id to read after, '-' for the start; most entries; most bytes of heads
-- and bodies (the first entry always comes). Reply: entries as { id, t, h, b, bitmap }. It asks no
-- epoch: who looks up whether an entry exists may have lost his.
local function read(keys, args)
	local from = args[1] == '-' and '-' or '(' .. args[1]
	local room, bytes, ask = tonumber(args[2]), tonumber(args[3]), 1
	local page, used = {}, 0
	while #page < room do
		local got = redis.call('XRANGE', keys[1], from, '+', 'COUNT', math.min(ask, room - #page))
		for _, entry in ipairs(got) do
			local fields = entry[2]
			local head, body = entry_parts(fields)
			local size = #head + #body
			if #page > 0 and used + size > bytes then
				return page
			end
			used = used + size
			local bitmap = redis.call('HGET', keys[2], entry[1]) or ''
			table.insert(page, { entry[1], fields[2], head, body, bitmap })
			from = '(' .. entry[1]
		end
		if #got < ask or used >= bytes then
			break
		end
		-- As many as will fit by what came so far, so that nothing large is read to be thrown away.
		ask = math.max(1, math.min(64, math.floor((bytes - used) / (used / #page + 1))))
	end
	return page
end

-- ---- store

-- The fields of a record's keys in their buckets, and their values.
local function known_parts(r, names, values)
	local width, room = #names / r.count, #values / r.count
	r.fields, r.marks = {}, {}
	for i = 1, r.count do
		r.fields[i] = string.sub(names, (i - 1) * width + 1, i * width)
		r.marks[i] = string.sub(values, (i - 1) * room + 1, i * room)
	end
end

-- The records of ARGV from `at` on, how many bits they have, and the lanes: key index → its records. A
-- record is a run of `count` events, of `each` deliveries each.
local function store_records(keys, args, at)
	local records, lanes, bits, index = {}, {}, 0, 0
	while at <= #args do
		local r = { each = tonumber(args[at]), first = bits, index = index, count = 1,
			lane = tonumber(args[at + 1]), bit = tonumber(args[at + 2]) }
		local guard, group = string.match(args[at + 3], '^(.)(%d*)$')
		at = at + 4
		if group ~= '' then
			r.group = group
		end
		if guard == 's' then
			r.count, r.each = r.each, 1
		elseif guard == 'B' then
			r.count, r.ttl, r.from = tonumber(args[at]), tonumber(args[at + 1]), at + 2
			at = at + 2 + 2 * r.count
		elseif guard == 'b' then
			r.count, r.ttl = tonumber(args[at]), tonumber(args[at + 1])
			known_parts(r, args[at + 2], args[at + 3])
			at = at + 4
		elseif guard == 'k' then
			r.key, r.hash, r.id = tonumber(args[at]), args[at + 1], args[at + 2]
			at = at + 3
		elseif guard == 'K' then -- of a broker that knows no buckets
			r.ttl = tonumber(args[at + 1])
			known_parts(r, string.sub(keys[tonumber(args[at])], #beside(keys[7], 'dedupe:') + 1),
				args[at + 3] .. args[at + 2])
			at = at + 4
		elseif guard == 't' then
			r.timer, r.previous, r.slot, r.id = args[at], args[at + 1], args[at + 2], args[at + 3]
			at = at + 4
		end
		if r.lane > 0 then
			lanes[r.lane] = lanes[r.lane] or {}
			table.insert(lanes[r.lane], r)
		end
		bits = bits + r.each * r.count
		index = index + r.count
		records[#records + 1] = r
	end
	return records, lanes, bits
end

-- Adds BITFIELD's words for the bits of a run, 32 at a time.
local function add_bits(words, how, r)
	for from = 0, r.count - 1, 32 do
		local size = math.min(32, r.count - from)
		words[#words + 1] = how
		words[#words + 1] = 'u' .. size
		words[#words + 1] = text(r.bit + from)
		if how == 'SET' then
			words[#words + 1] = text(2 ^ size - 1)
		end
	end
end

-- Reads the bits of one lane. A run that has one set, or that does not stand in order behind the run
-- before it (so that both may have the same number), must be looked at event by event.
local function store_lane(key, records)
	local words, values, last = {}, {}, -1
	for _, r in ipairs(records) do
		r.split = r.bit <= last
		last = math.max(last, r.bit + r.count - 1)
		add_bits(words, 'GET', r)
	end
	chunks(words, 1500, function(...)
		for _, value in ipairs(redis.call('BITFIELD_RO', key, ...)) do
			values[#values + 1] = value
		end
	end)
	local at = 0
	for _, r in ipairs(records) do
		r.values = {}
		for i = 1, math.ceil(r.count / 32) do
			at = at + 1
			r.values[i] = values[at]
			r.split = r.split or values[at] ~= 0
		end
	end
end

-- The fields and marks of a record that says them one by one.
local function known_list(r, args)
	r.fields, r.marks = {}, {}
	for i = 1, r.count do
		r.fields[i], r.marks[i] = args[r.from + 2 * i - 2], args[r.from + 2 * i - 1]
	end
	r.from = nil
end

-- One event of a record.
local function store_event(r, i, args)
	if r.from then
		known_list(r, args)
	end
	if r.count == 1 then
		return r
	end
	local item = { each = r.each, first = r.first + i * r.each, index = r.index + i, count = 1,
		lane = r.lane, bit = r.bit + i, group = r.group, ttl = r.ttl }
	if r.fields then
		item.fields, item.marks = { r.fields[i + 1] }, { r.marks[i + 1] }
	end
	return item
end

-- The records again, those that must be split as single events: what is not alone in its lane (with what
-- stands there twice marked), and runs of keys that are not all new.
local function store_items(keys, args, records, lanes)
	local items, seen = {}, {}
	for key, list in pairs(lanes) do
		store_lane(keys[key], list)
		seen[key] = {}
		for _, r in ipairs(list) do
			if r.split then
				seen[key].needed = true
			end
		end
	end
	for _, r in ipairs(records) do
		local known = seen[r.lane]
		if known and known.needed then
			for i = 0, r.count - 1 do
				local item = store_event(r, i, args)
				local size = math.min(32, r.count - math.floor(i / 32) * 32)
				local value = r.values[math.floor(i / 32) + 1]
				if math.floor(value / 2 ^ (size - 1 - i % 32)) % 2 == 1 then
					item.there = true
				else
					item.twin = known[item.bit]
				end
				known[item.bit] = known[item.bit] or item
				items[#items + 1] = item
			end
		elseif r.parts then
			for i = 0, r.count - 1 do
				items[#items + 1] = store_event(r, i, args)
			end
		else
			items[#items + 1] = r
		end
	end
	return items
end

-- Keys of a time of their own had a hash each, too, before there were buckets. Nothing is lost by looking while
-- there are any of that kind.
local function store_find_single(keys, fields, found)
	local front, names = beside(keys[7], 'dedupe:'), {}
	for i, field in ipairs(fields) do
		names[i] = front .. field
	end
	local any = 0
	chunks(names, 1000, function(...) any = any + redis.call('EXISTS', ...) end)
	for i = 1, any > 0 and #fields or 0 do
		local record = redis.call('HMGET', names[i], 'h', 'i')
		if record[1] then
			found[fields[i]] = found[fields[i]] or record[2] .. record[1]
		end
	end
end

-- All keys of buckets that there are, and which record each is of; their bytes, and those of the other keys. What
-- stands there twice makes its record one that must be split.
local function store_fields(keys, args, records)
	local fields, owner, mine, n, bytes = {}, {}, {}, 0, 0
	for _, r in ipairs(records) do
		if r.from then
			for i = 0, r.count - 1 do
				fields[n + 1 + i] = args[r.from + 2 * i]
			end
			r.bytes_all = r.count * (KNOWN_BYTES + #args[r.from])
			bytes = bytes + r.bytes_all
		elseif r.key then
			bytes = bytes + EVENT_BYTES + #keys[r.key]
		end
		for i, field in ipairs(r.fields or {}) do
			if mine[field] then
				r.parts = true
			end
			mine[field] = true
			fields[n + i] = field
			bytes = bytes + KNOWN_BYTES + #field
		end
		if r.ttl then
			owner[#owner + 1] = r
			r.first_field = n
			n = n + r.count
		end
	end
	return fields, owner, bytes
end

-- Looks them all up at once: c.found is field → mark. A record of which one is known must be split.
local function store_find(keys, args, records, c)
	local fields, owner, bytes = store_fields(keys, args, records)
	local known = false
	for bucket in pairs(c.size.known) do
		local from, name = 0, beside(keys[7], bucket)
		chunks(fields, 4000, function(...)
			local got = redis.call('HMGET', name, ...)
			for i = 1, #got do
				if got[i] then
					c.found[fields[from + i]] = got[i]
					known = true
				end
			end
			from = from + #got
		end)
	end
	if c.size.single then
		store_find_single(keys, fields, c.found)
		known = true
	end
	local tight = c.used + bytes > c.max
	for _, r in ipairs(tight and owner or {}) do
		r.parts = true
	end
	for _, r in ipairs(known and not tight and owner or {}) do
		for i = r.first_field + 1, r.first_field + r.count do
			r.parts = r.parts or c.found[fields[i]] ~= nil
		end
	end
end

-- The hash in a mark, behind the id. It is left out when it is zero, but not by a broker before revision 15.
local function hash_of(mark)
	local hash = string.sub(mark, 17)
	return string.find(hash, '^%z*$') and '' or hash
end

local function store_known(item, c, full)
	local bytes = 0
	if item.from then -- none of them is known, and there is room for all that came
		item.bytes = item.bytes_all
		c.used = c.used + item.bytes
		return
	end
	for _, field in ipairs(item.fields) do
		bytes = bytes + KNOWN_BYTES + #field
	end
	local mark = item.count == 1 and (c.found[item.fields[1]] or c.mine[item.fields[1]])
	if mark then
		local same = hash_of(mark) == hash_of(item.marks[1])
		item.why, item.value = same and 'KEY' or 'BODY', string.sub(mark, 1, 16)
	elseif full or c.used + bytes > c.max then
		item.why, item.value = 'FULL', ''
	else
		c.used = c.used + bytes
		item.bytes = bytes
		for i, field in ipairs(item.fields) do
			c.mine[field] = item.marks[i]
		end
	end
end

local function store_key(keys, item, c, full)
	local name = keys[item.key] -- two items of one key have an index each
	local record = c.mine[name]
	if not record then
		record = redis.call('HMGET', name, 'h', 'i')
	end
	if record[1] == item.hash then
		item.why, item.value = 'KEY', record[2]
	elseif record[1] then
		item.why, item.value = 'BODY', record[2]
	elseif full or c.used + EVENT_BYTES + #name > c.max then
		item.why, item.value = 'FULL', ''
	else
		c.mine[name] = { item.hash, item.id }
		item.bytes = EVENT_BYTES + #name
		c.used = c.used + item.bytes
	end
end

-- A timer is its last slot and the id of its last run, with a space between them.
local function store_timer(keys, item, slots, now)
	local last, id = string.match(slots[item.timer] or redis.call('HGET', keys[6], item.timer) or '0 ',
		'^(%d+) ?(.*)')
	local slot = tonumber(item.slot)
	if last ~= item.previous or slot <= tonumber(last) or slot > now + 1000 then
		item.why, item.value = 'SLOT', last .. ' ' .. id
		return
	end
	if item.id ~= '' then -- a skipped slot has no event: the one before stays the running one
		id = item.id
	end
	item.mark = item.slot .. ' ' .. id
	slots[item.timer] = item.mark
end

-- Whether an item is stored; full: nothing of this fate is.
local function store_decide(keys, item, c, full)
	item.why, item.value, item.bytes = nil, nil, nil
	if item.there then
		item.why, item.value = 'LANE', ''
	elseif item.twin then -- it came twice in this call: the second shares the fate of the first
		item.why, item.value = item.twin.why or 'LANE', item.twin.value or ''
	elseif item.fields or item.from then
		store_known(item, c, full)
	elseif item.key then
		store_key(keys, item, c, full)
	elseif item.timer then
		store_timer(keys, item, c.slots, c.now)
	elseif full then
		item.why, item.value = 'FULL', ''
	end
end

-- Those of a group are stored, but for what is known already, or none of them is: when there is no room for a
-- key, what was decided is taken back.
local function store_decide_all(keys, items, c)
	local at = 1
	while at <= #items do
		local last, used, full = at, c.used, false
		while items[at].group and items[last + 1] and items[last + 1].group == items[at].group do
			last = last + 1
		end
		for i = at, last do
			store_decide(keys, items[i], c, false)
			full = full or items[i].why == 'FULL'
		end
		if full and last > at then
			c.used = used
			for i = at, last do
				if items[i].bytes and items[i].key then
					c.mine[keys[items[i].key]] = nil
				elseif items[i].bytes then
					for _, field in ipairs(items[i].fields or {}) do
						c.mine[field] = nil
					end
				end
			end
			for i = at, last do
				store_decide(keys, items[i], c, true)
			end
		end
		at = last + 1
	end
end

-- The keys that are stored, and their bytes.
local function store_keys(keys, args, items, c)
	local sizes, buckets = {}, {}
	for _, item in ipairs(items) do
		if item.bytes then
			local field
			if item.key then
				field = dedupe_field(c.now, c.ttl)
				redis.call('HSET', keys[item.key], 'h', item.hash, 'i', item.id)
				redis.call('PEXPIRE', keys[item.key], text(c.ttl))
			else
				field = known_field(c.now, item.ttl)
				local words = buckets[field] or { n = 0 }
				buckets[field] = words
				for i = 1, item.from and 2 * item.count or 0 do
					words[words.n + i] = args[item.from + i - 1]
				end
				for i = 1, item.from and 0 or item.count do
					words[words.n + 2 * i - 1], words[words.n + 2 * i] = item.fields[i], item.marks[i]
				end
				words.n = words.n + 2 * item.count
			end
			sizes[field] = (sizes[field] or 0) + item.bytes
		end
	end
	if not next(sizes) then
		return
	end
	dedupe_forget(keys[7], c.size.old)
	for field, words in pairs(buckets) do
		local bucket = beside(keys[7], field)
		chunks(words, 4000, function(...) redis.call('HSET', bucket, ...) end)
		if not c.size.known[field] then
			redis.call('EXPIREAT', bucket, text(tonumber(string.sub(field, 7)) + KNOWN_GRACE))
		end
	end
	for field, bytes in pairs(sizes) do
		dedupe_add(keys[7], field, bytes)
	end
end

local function store_marks(keys, items)
	local set = {}
	for _, item in ipairs(items) do
		if not item.why then
			if item.lane > 0 then
				set[item.lane] = set[item.lane] or {}
				add_bits(set[item.lane], 'SET', item)
			end
			if item.timer then
				redis.call('HSET', keys[6], item.timer, item.mark)
			end
		end
	end
	for key, words in pairs(set) do
		chunks(words, 2000, function(...)
			redis.call('BITFIELD', keys[key], ...)
		end)
		redis.call('PEXPIRE', keys[key], LANE_MS)
	end
end

-- A few events of one lane that nobody has stored yet, and no keys: so most calls are, where one sender waits
-- for each, and what the others need is half of what such a one would cost. Reply: store's; nil: nothing is done,
-- it is not such a call.
local function store_plain(keys, args, now, shared)
	local guard, lane, bit_at = args[11], keys[tonumber(args[9])], args[10]
	if #args ~= 11 or not lane or (guard ~= '-' and guard ~= 's') then
		return nil
	end
	local count = guard == 's' and tonumber(args[8]) or 1
	local word = 'u' .. count
	if count > 32 or redis.call('BITFIELD_RO', lane, 'GET', word, bit_at)[1] ~= 0 then
		return nil
	end
	local refused = append(keys[4], args[1], args[3], now, args[4], args[5], shared)
	if refused then
		return refused
	end
	redis.call('HSET', keys[5], args[1] .. '-' .. args[3], '')
	redis.call('BITFIELD', lane, 'SET', word, bit_at, text(2 ^ count - 1))
	redis.call('PEXPIRE', lane, LANE_MS)
	return { text(now), '1' }
end

-- KEYS: owners, journals, epoch, stream, done, timers, dedupe-size, then lanes and dedupe keys.
-- ARGV: epoch, journal, turn, head, body, dedupe_max, dedupe_ms; for each item: its deliveries (0: a
-- timer's skipped slot), index of its lane's key (0: none), bit there, guard. The guard is '-'; or 's':
-- these are as many events, of one delivery each, whose numbers follow one another in the lane; or 'k',
-- index of the dedupe key, hash of the body, id; or 't', timer, previous slot, slot, id; or 'B', number
-- of events (of as many deliveries each, their numbers follow one another), how long their keys are
-- known, and for each scope:key, all as long, and id and hash: no key stands twice in such a call. One in
-- which one does says 'b', number, how long, and the keys one behind the other, and what they mean. (As
-- does a broker before revision 12; one before revision 10 says 'K', index of the dedupe key, how long,
-- hash, id.) A number behind the guard's letter: items that have it in common stand together, and are
-- stored or not for want of room together.
-- pirn1_store_shared takes the same; its head and body are those of H and B.
-- Reply: Redis's time; 1 when there is an entry now; then for each item that was not stored: its
-- number from 0, LANE '' | KEY id | BODY id | SLOT last slot, space, id of the
-- last run | FULL ''. The bits of those are set in done.
local function store(keys, args, shared)
	local epoch, journal = args[1], args[2]
	if not owns(keys, epoch, journal) then
		return fenced(keys)
	end
	local now = now_ms()
	local plain = store_plain(keys, args, now, shared)
	if plain then
		return plain
	end
	local records, lanes, bits = store_records(keys, args, 8)
	local c = { now = now, max = tonumber(args[6]), ttl = tonumber(args[7]), found = {}, mine = {}, slots = {} }
	for _, r in ipairs(records) do
		if (r.ttl or r.key) and not c.size then
			c.size = dedupe_read(keys[7], now)
			c.used = c.size.used
		end
	end
	if c.size then
		store_find(keys, args, records, c)
	end
	local items = store_items(keys, args, records, lanes)
	store_decide_all(keys, items, c)
	local ended, live = {}, 0
	local reply = { text(now), '0' }
	for _, item in ipairs(items) do
		if item.why then
			for i = 0, item.count - 1 do
				reply[#reply + 1] = text(item.index + i)
				reply[#reply + 1] = item.why
				reply[#reply + 1] = item.value
			end
			if item.each > 0 then
				take_bits(ended, '', item.first, item.first + item.each * item.count - 1)
			end
		else
			live = live + item.each * item.count
		end
	end
	if live > 0 then
		local refused = append(keys[4], epoch, args[3], now, args[4], args[5], shared)
		if refused then
			return refused
		end
		reply[2] = '1'
		local bitmap = next(ended) and with_bits('', bits, ended) or ''
		redis.call('HSET', keys[5], epoch .. '-' .. args[3], bitmap)
	end
	store_marks(keys, items)
	store_keys(keys, args, items, c)
	return reply
end

-- ---- results

-- The ring, as one call finds it. results: { at, bytes } of each group, oldest first, and the number of the first.
local function results_key(r, i)
	return r.keys[r.base + 1 + (r.ring.first + i - 1) % RESULT_GROUPS]
end

local function results_drop_oldest(r)
	local key = results_key(r, 1)
	for _, name in ipairs(redis.call('ZRANGE', key .. ':blobs', 0, -1)) do
		redis.call('UNLINK', key .. ':' .. name)
	end
	redis.call('UNLINK', key, key .. ':blobs')
	r.total = r.total - r.ring.groups[1][2]
	table.remove(r.ring.groups, 1)
	r.ring.first = r.ring.first + 1
end

local function results_open(keys, base, max, ttl, now)
	local state = redis.call('GET', keys[base])
	local r = { keys = keys, base = base, max = max, ttl = ttl, now = now, total = 0,
		ring = state and cmsgpack.unpack(state) or { first = 0, groups = {} } }
	for _, group in ipairs(r.ring.groups) do
		r.total = r.total + group[2]
	end
	while r.ring.groups[1] and r.ring.groups[1][1] + ttl + ttl / 8 < now do
		results_drop_oldest(r)
	end
	return r
end

local function results_close(r)
	redis.call('SET', r.keys[r.base], cmsgpack.pack(r.ring), 'PX', text(r.ttl * 2))
end

-- The group that takes so many bytes; nil: there is no room for as many, whatever goes.
local function results_place(r, size)
	local groups = r.ring.groups
	local last = groups[#groups]
	if size > r.max then
		return nil
	end
	if not last or last[2] + size > r.max / 8 or last[1] + r.ttl / 8 < r.now then
		if #groups == RESULT_GROUPS then
			results_drop_oldest(r)
		end
		groups[#groups + 1] = { r.now, 0 }
	end
	while r.total + size > r.max do
		results_drop_oldest(r)
	end
	if #groups == 0 then
		groups[1] = { r.now, 0 }
	end
	last = groups[#groups]
	last[2] = last[2] + size
	r.total = r.total + size
	return results_key(r, #groups)
end

local function results_merged(before, more)
	local map = cmsgpack.unpack(before)
	for service, bytes in pairs(cmsgpack.unpack(more)) do
		map[service] = bytes
	end
	return cmsgpack.pack(map)
end

-- Adds to what is there under these ids. words: id, map of each; an id may stand there twice.
local function results_merge(key, words)
	local all, place, ids = {}, {}, {}
	for i = 1, #words, 2 do
		local id = words[i]
		if place[id] then
			all[place[id]] = results_merged(all[place[id]], words[i + 1])
		else
			ids[#ids + 1] = id
			all[#all + 1] = id
			all[#all + 1] = words[i + 1]
			place[id] = #all
		end
	end
	for i, there in ipairs(redis.call('HMGET', key, unpack(ids))) do
		if there then
			all[2 * i] = results_merged(there, all[2 * i])
		end
	end
	redis.call('HSET', key, unpack(all))
end

-- Many at once become one string: ids; where the map of each begins, and the last ends, 4 bytes each;
-- maps. Its name is number.ids.from, and a .s behind it when the maps are pieces that are like the first
-- (store/shared.h), as they are of brokers from revision 15 on; where `from` is the time in the first of its ids, by ULID; the last
-- is at most RESULT_SPREAD later, and what it is found by.
local function results_blob(r, key, n, from, last, blob, shared)
	r.ring.blobs = (r.ring.blobs or 0) + 1
	local name = text(r.ring.blobs) .. '.' .. n .. '.' .. from .. (shared and '.s' or '')
	redis.call('SET', key .. ':' .. name, blob, 'PX', text(r.ttl))
	redis.call('ZADD', key .. ':blobs', last, name)
	redis.call('PEXPIRE', key .. ':blobs', text(r.ttl))
end

-- ARGV from `at` on is chunks: how, number of results, their bytes, then id and map of each, or with 'b'
-- or 'B' (shared) a blob of them, and the times of its first id and its last. Those of 'p' replace what is there under
-- their ids, as they came and in one command: this is the largest part of what a result costs. Those of
-- 'm', whose events have other deliveries, add to it.
local function results_chunks(r, args, at)
	while at < #args do
		local last = at + 2 + 2 * tonumber(args[at + 1])
		local key = results_place(r, tonumber(args[at + 2]))
		if args[at] == 'b' or args[at] == 'B' then
			if key then
				results_blob(r, key, args[at + 1], args[at + 4], args[at + 5], args[at + 3], args[at] == 'B')
			end
			last, key = at + 5, nil
		end
		for from = at + 3, key and last or 0, 2000 do
			local to = math.min(from + 1999, last)
			if args[at] == 'p' then
				redis.call('HSET', key, unpack(args, from, to))
			else
				results_merge(key, { unpack(args, from, to) })
			end
		end
		if key then
			redis.call('PEXPIRE', key, text(r.ttl))
		end
		at = last + 1
	end
end

-- A broker before revision 12 says id, service, bytes of each.
local function results_single(r, args, at)
	for i = at, #args, 3 do
		local id, service, bytes = args[i], args[i + 1], args[i + 2]
		local key = results_place(r, #id + #service + #bytes + 64)
		if key then
			results_merge(key, { id, cmsgpack.pack({ [service] = bytes }) })
			redis.call('PEXPIRE', key, text(r.ttl))
		end
	end
end

local function results_remove(keys, base, id, service)
	for i = base + 1, base + RESULT_GROUPS do
		local there = redis.call('HGET', keys[i], id)
		local map = there and cmsgpack.unpack(there)
		if map and map[service] then
			map[service] = nil
			if next(map) then
				redis.call('HSET', keys[i], id, cmsgpack.pack(map))
			else
				redis.call('HDEL', keys[i], id)
			end
		end
	end
end

-- The map of the result whose place in a blob is told by the bytes from `mark` on.
local function results_map(blob, mark, n, shared)
	local first, last = struct.unpack('>I4I4', redis.call('GETRANGE', blob, mark, mark + 7))
	local map = redis.call('GETRANGE', blob, first, last - 1)
	if not shared then
		return map
	end
	local first_one = ''
	if mark > 16 * n then
		first_one = piece_at(results_map(blob, 16 * n, n, false), 1, '', true)
	end
	local piece, data = piece_at(map, 1, first_one, true)
	return piece .. data
end

-- The map of an id that stands in one of a group's blobs, or nil.
local function results_find(key, id)
	local a, b, c, d, e, f = string.byte(id, 1, 6)
	local time = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
	for _, name in ipairs(redis.call('ZRANGEBYSCORE', key .. ':blobs', text(time), text(time + RESULT_SPREAD))) do
		local n, from, shared = string.match(name, '^%d+%.(%d+)%.(%d+)(.*)$')
		local blob = key .. ':' .. name
		local ids = tonumber(from) <= time and redis.call('GETRANGE', blob, 0, 16 * n - 1) or ''
		local at = string.find(ids, id, 1, true)
		while at and at % 16 ~= 1 do
			at = string.find(ids, id, at + 1, true)
		end
		if at then
			return results_map(blob, 16 * n + (at - 1) / 4, tonumber(n), shared == '.s')
		end
	end
	return nil
end

-- KEYS: results, results:0 … results:31. ARGV: id. Reply: service, bytes of each delivery's result.
local function result(keys, args)
	local ring = redis.call('GET', keys[1])
	local first = ring and cmsgpack.unpack(ring).first or 0
	local all, reply = {}, {}
	for i = 0, RESULT_GROUPS - 1 do -- oldest first: a later end of the same delivery replaces it
		local key = keys[2 + (first + i) % RESULT_GROUPS]
		for _, there in ipairs({ results_find(key, args[1]) or '', redis.call('HGET', key, args[1]) or '' }) do
			for service, bytes in pairs(there ~= '' and cmsgpack.unpack(there) or {}) do
				all[service] = bytes
			end
		end
	end
	for service, bytes in pairs(all) do
		reply[#reply + 1] = service
		reply[#reply + 1] = bytes
	end
	return reply
end

-- ---- settle

local function is_below(run_a, run_b)
	local attempt_a, epoch_a = struct.unpack('>I4I4', run_a)
	local attempt_b, epoch_b = struct.unpack('>I4I4', run_b)
	return attempt_a < attempt_b or (attempt_a == attempt_b and epoch_a < epoch_b)
end

-- The entries that ends are in, with what is to be done; or an error.
local function settle_entries(keys, args, epoch, at)
	local entries, owned, listed = {}, {}, {}
	for e = 1, tonumber(args[8]) do
		local journal = args[at]
		if not owned[journal] then
			local owner = redis.call('HGET', keys[2], journal)
			if owner ~= epoch and owner ~= epoch .. '+' then
				return nil, fenced(keys)
			end
			owned[journal] = true
		end
		local entry = { stream = tonumber(args[at + 1]), done = tonumber(args[at + 2]), id = args[at + 3],
			n = tonumber(args[at + 4]), bits = {}, count = 0, ends = {} }
		local ends = tonumber(args[at + 5])
		if listed[journal .. ' ' .. entry.id] then
			return nil, refuse('ARGS', 'entry')
		end
		listed[journal .. ' ' .. entry.id] = true
		at = at + 6
		entry.field = redis.call('HGET', keys[entry.done], entry.id)
		if not entry.field and #redis.call('XRANGE', keys[entry.stream], entry.id, entry.id) == 0 then
			return nil, refuse('SETTLED', entry.id)
		end
		entry.bitmap = entry.field or ''
		for _ = 1, ends do
			local b, how, last = tonumber(args[at]), args[at + 1], nil
			at = at + 2
			last = b
			if how == '-' then
				last = b + tonumber(args[at]) - 1
				at = at + 1
			end
			if last >= entry.n then
				return nil, refuse('ARGS', 'bit')
			end
			if not take_bits(entry.bits, entry.bitmap, b, last) then
				return nil, refuse('SETTLED', entry.id)
			end
			entry.count = entry.count + last - b + 1
			local e_end = { how = how }
			if how ~= '-' then
				e_end.ops = tonumber(args[at])
				at = at + 1
			end
			if how == 'f' then
				e_end.run, e_end.until_ms = args[at], args[at + 1]
				at = at + 2
			elseif how == 'd' then
				e_end.run, e_end.dead, e_end.load = args[at], tonumber(args[at + 1]), tonumber(args[at + 2])
				e_end.id, e_end.head, e_end.body = args[at + 3], args[at + 4], args[at + 5]
				at = at + 6
			end
			if e_end.run and #e_end.run ~= 8 then
				return nil, refuse('ARGS', 'run')
			end
			if how ~= '-' then
				entry.ends[#entry.ends + 1] = e_end
			end
		end
		entries[e] = entry
	end
	return entries, nil, at
end

local function fence_ops(key, new)
	local stored = redis.call('HGET', key, ':run')
	if not stored or is_below(stored, new) then
		redis.call('HSET', key, ':run', new)
	end
end

local function settle_end(keys, e)
	if e.how == 'u' then
		redis.call('UNLINK', keys[e.ops])
	elseif e.how == 'f' then
		fence_ops(keys[e.ops], e.run)
		redis.call('PEXPIREAT', keys[e.ops], e.until_ms)
	else
		fence_ops(keys[e.ops], e.run)
		redis.call('PERSIST', keys[e.ops])
		redis.call('HSET', keys[e.dead], e.id, e.head)
		redis.call('HSET', keys[e.load], e.id, e.body)
	end
end

local function add_to(map, key, value)
	map[key] = map[key] or {}
	table.insert(map[key], value)
end

-- Bits; entries that are full go, those of one stream together.
local function settle_bits(keys, entries)
	local full, gone, marks = {}, {}, {}
	for _, entry in ipairs(entries) do
		local bitmap, count
		if entry.count == entry.n then
			count = entry.n
		else
			bitmap, count = with_bits(entry.bitmap, entry.n, entry.bits)
		end
		if count == entry.n then
			add_to(full, entry.stream, entry.id)
			if entry.field then
				add_to(gone, entry.done, entry.id)
			end
		else
			add_to(marks, entry.done, entry.id)
			add_to(marks, entry.done, bitmap)
		end
	end
	for key, list in pairs(full) do
		chunks(list, 1000, function(...) redis.call('XDEL', keys[key], ...) end)
	end
	for key, list in pairs(gone) do
		chunks(list, 1000, function(...) redis.call('HDEL', keys[key], ...) end)
	end
	for key, list in pairs(marks) do
		chunks(list, 1000, function(...) redis.call('HSET', keys[key], ...) end)
	end
end

-- KEYS: owners, journals, epoch, stream, done, then those that ARGV has the index of.
-- ARGV: epoch, journal, turn, head and body of what moves to a new entry ('' when nothing does),
-- results_max, result_ttl, number of entries; for each: journal, index of its stream, index of its
-- done, entry id, its deliveries, number of ends; for each end: bit, how. How is '-', count (that many
-- from that bit on moved, or have no records); 'u', ops (the only run: its records go); 'f', ops, run, until (later runs are refused until
-- then); 'd', ops, run, dead, dead-body, id, head, body (a dead letter). Then 'r' and the index of `results`,
-- the 32 groups behind it, and chunks of results (results_chunks); 0 when there are none.
-- Reply: Redis's time. SETTLED: one of them ended before; nothing was changed.
local function settle(keys, args)
	local epoch, journal = args[1], args[2]
	if not owns(keys, epoch, journal) then
		return fenced(keys)
	end
	local entries, refused, at = settle_entries(keys, args, epoch, 9)
	if refused then
		return refused
	end
	local now = now_ms()
	if args[4] ~= '' then
		refused = append(keys[4], epoch, args[3], now, args[4], args[5])
		if refused then
			return refused
		end
		redis.call('HSET', keys[5], epoch .. '-' .. args[3], '')
	end
	settle_bits(keys, entries)
	for _, entry in ipairs(entries) do
		for _, e in ipairs(entry.ends) do
			settle_end(keys, e)
		end
	end
	if at < #args then
		local chunks, base = string.match(args[at], '^(r?)(%d+)$')
		local r = results_open(keys, tonumber(base), tonumber(args[6]), tonumber(args[7]), now)
		if chunks == 'r' then
			results_chunks(r, args, at + 1)
		else
			results_single(r, args, at + 1)
		end
		results_close(r)
	end
	return text(now)
end

-- ---- dead letters

-- KEYS: owners, journals, epoch, stream, dead, dead-body, results, results:0 … results:31. ARGV: epoch,
-- journal, turn, service, most bytes of bodies, ids. Reply: the ids that moved, in their order in the
-- new entry; those without a letter are left out, and those that did not fit.
local function redrive(keys, args)
	local epoch, journal, service = args[1], args[2], args[4]
	if not owns(keys, epoch, journal) then
		return fenced(keys)
	end
	local moved, heads, bodies, used, seen = {}, {}, {}, 0, {}
	for i = 6, #args do
		local id = args[i]
		local head = not seen[id] and redis.call('HGET', keys[5], id)
		seen[id] = true
		if head then
			local size = redis.call('HSTRLEN', keys[6], id)
			if #moved > 0 and used + size > tonumber(args[5]) then
				break
			end
			used = used + size
			moved[#moved + 1] = id
			heads[#heads + 1] = head
			bodies[#bodies + 1] = redis.call('HGET', keys[6], id) or ''
		end
	end
	if #moved == 0 then
		return moved
	end
	local refused = append(keys[4], epoch, args[3], now_ms(), table.concat(heads), table.concat(bodies))
	if refused then
		return refused
	end
	redis.call('HDEL', keys[5], unpack(moved))
	redis.call('HDEL', keys[6], unpack(moved))
	for _, id in ipairs(moved) do
		results_remove(keys, 7, id, service)
	end
	return moved
end

-- KEYS: dead, dead-body. ARGV: id. Reply: head, payload; or nothing.
local function letter(keys, args)
	local head = redis.call('HGET', keys[1], args[1])
	return head and { head, redis.call('HGET', keys[2], args[1]) or '' } or {}
end

-- KEYS: dead, dead-body, then the ops of each id. ARGV: ids. Reply: how many letters went. Their
-- operation records go a day later: until then they refuse a run that is still about.
local function purge(keys, args)
	local gone = 0
	for i, id in ipairs(args) do
		if redis.call('HDEL', keys[1], id) == 1 then
			redis.call('HDEL', keys[2], id)
			redis.call('PEXPIRE', keys[2 + i], DAY_MS)
			gone = gone + 1
		end
	end
	return gone
end

-- ---- operations of a run

-- command → how many arguments it has, what reads the exact number back (Lua's lose digits).
local operations = {
	GET = { n = 0, read = true }, HGET = { n = 1, read = true }, HGETALL = { n = 0, read = true },
	INCRBY = { n = 1, back = 'GET' }, HINCRBY = { n = 2, back = 'HGET' },
	SET = { n = 2 }, UNLINK = { n = 0 }, HSET = { n = 2 }, HDEL = { n = 1 }, CAS = { n = 4 },
}

-- A failure that is the operation's own answer, or nil: then Redis refused it.
local function failure(reply)
	if string.find(reply.err, 'overflow', 1, true) then
		return 'eOVERFLOW'
	elseif string.find(reply.err, 'WRONGTYPE', 1, true) or string.find(reply.err, 'not an integer', 1, true) then
		return 'eTYPE'
	end
	return nil
end

local function record(reply)
	if type(reply) == 'number' then
		return 'i' .. text(reply)
	elseif type(reply) == 'string' then
		return 's' .. reply
	elseif not reply then
		return 'n'
	elseif reply.ok then
		return 'o'
	end
	local parts = { 'a' }
	for _, word in ipairs(reply) do
		parts[#parts + 1] = struct.pack('>I4', #word)
		parts[#parts + 1] = word
	end
	return table.concat(parts)
end

-- Applies it. Reply: its record, or an error.
local function apply(key, command, args)
	local reply
	if command == 'SET' and args[2] ~= '0' then
		reply = run('SET', key, args[1], 'PX', args[2])
	elseif command == 'SET' then
		reply = run('SET', key, args[1])
	elseif command == 'CAS' then
		reply = cas({ key }, args)
	else
		reply = run(command, key, unpack(args))
	end
	if failed(reply) then
		local own = failure(reply)
		return own, not own and reply or nil
	end
	local back = operations[command].back
	if back == 'GET' then
		return 'i' .. redis.call('GET', key)
	elseif back == 'HGET' then
		return 'i' .. redis.call('HGET', key, args[1])
	end
	return record(reply)
end

-- KEYS: ops, state key. ARGV: run, lease end, keep until, field, number of reads since the last write,
-- for each its field and record; command, its arguments (SET value ttl; CAS has expected value ttl).
-- Reply: NEW or OLD, record. A read is recorded only with the next write: NEW from a read means that
-- the caller brings the record along. LEASE, SUPERSEDED, LIMIT: nothing was done.
local function op(keys, args)
	local token, reads = args[1], tonumber(args[5])
	local at = 6 + reads * 2
	local command, rest = args[at], { unpack(args, at + 1) }
	local kind = operations[command]
	if not kind or #rest ~= kind.n or #token ~= 8 then
		return refuse('ARGS', 'operation')
	end
	local now = now_ms()
	if now > tonumber(args[2]) then
		return refuse('LEASE', text(now))
	end
	local there = redis.call('HMGET', keys[1], ':run', ':size', 'o' .. args[4])
	if there[1] and is_below(token, there[1]) then
		return refuse('SUPERSEDED', text(struct.unpack('>I4', there[1])))
	end
	if there[3] then
		return { 'OLD', there[3] }
	end
	if kind.read then
		local got, refused = apply(keys[2], command, rest)
		return refused or { 'NEW', got }
	end
	local size, count = tonumber(there[2] or 0) + #args[4] + 64, redis.call('HLEN', keys[1])
	for i = 6, at - 1, 2 do
		size = size + #args[i] + #args[i + 1]
	end
	-- Two fields are ours; until they are there count is 0.
	if math.max(count, 2) - 2 + reads + 1 > OPS_MAX or size > OPS_BYTES then
		return refuse('LIMIT', text(size))
	end
	local got, refused = apply(keys[2], command, rest)
	if refused then
		return refused
	end
	for i = 6, at - 1, 2 do
		redis.call('HSETNX', keys[1], 'o' .. args[i], args[i + 1])
	end
	redis.call('HSET', keys[1], ':run', token, ':size', text(size), 'o' .. args[4], got)
	if tonumber(args[3]) > redis.call('PEXPIRETIME', keys[1]) then
		redis.call('PEXPIREAT', keys[1], args[3])
	end
	return { 'NEW', got }
end

-- ---- calls with an Idempotency-Key

-- The key is a hash: h body's hash, i id; a call's also r run, u until, l who has it: the id of that
-- request, a answer. A request whose broker was lost comes again by another one, under the same id: it is
-- not in its own way, but has the next run at once.
-- KEYS: key, dedupe-size. ARGV: hash, id, until, dedupe_max, dedupe_ms. Reply: RUN id run | BUSY id until |
-- ANSWER id response | EVENT id (an event had the key) | BODY id (with another body) | FULL.
local function claim(keys, args)
	local now, ttl = now_ms(), tonumber(args[5])
	local r = pairs_of(redis.call('HGETALL', keys[1]))
	if not r.h then
		local bytes = EVENT_BYTES + #keys[1]
		local size = dedupe_read(keys[2], now)
		if size.used + bytes > tonumber(args[4]) then
			return { 'FULL' }
		end
		redis.call('HSET', keys[1], 'h', args[1], 'i', args[2], 'r', '1', 'u', args[3], 'l', args[2])
		redis.call('PEXPIRE', keys[1], args[5])
		dedupe_forget(keys[2], size.old)
		dedupe_add(keys[2], dedupe_field(now, ttl), bytes)
		return { 'RUN', args[2], '1' }
	end
	if r.h ~= args[1] then
		return { 'BODY', r.i }
	elseif r.a then
		return { 'ANSWER', r.i, r.a }
	elseif not r.r then
		return { 'EVENT', r.i }
	elseif tonumber(r.u) > now and r.l ~= args[2] then
		return { 'BUSY', r.i, r.u }
	end
	local next_run = text(tonumber(r.r) + 1)
	redis.call('HSET', keys[1], 'r', next_run, 'u', args[3], 'l', args[2])
	redis.call('PEXPIRE', keys[1], args[5])
	return { 'RUN', r.i, next_run }
end

-- KEYS: key, dedupe-size, ops of the call. ARGV: id, run, has a response (2: and it ran
-- more than once), response, dedupe_ms. A
-- response is kept, and of the call's operation records a fence stays; without one the next claim runs
-- again, and they stay for it. Reply: 1. STALE: a later run has the key, or nobody.
local function answer(keys, args)
	local r = redis.call('HMGET', keys[1], 'i', 'r', 'a')
	if r[1] ~= args[1] or r[2] ~= args[2] then
		return refuse('STALE', r[2] or '0')
	end
	if r[3] then
		return 1
	end
	if args[3] == '0' then
		redis.call('HSET', keys[1], 'u', '0')
		return 1
	end
	redis.call('HSET', keys[1], 'a', args[4], 'u', '0')
	redis.call('PEXPIRE', keys[1], args[5])
	dedupe_add(keys[2], dedupe_field(now_ms(), tonumber(args[5])), #args[4])
	-- An earlier run may still go on under its lease: what it asks for from now on is refused, or it would
	-- be done again.
	if args[2] ~= '1' or args[3] == '2' or redis.call('EXISTS', keys[3]) == 1 then
		redis.call('UNLINK', keys[3])
		redis.call('HSET', keys[3], ':run', string.rep('\255', 8))
		redis.call('PEXPIRE', keys[3], args[5])
	end
	return 1
end

redis.register_function{
	function_name = 'pirn1_revision',
	callback = function() return revision end,
	flags = {'no-writes', 'allow-stale'},
}
redis.register_function{ function_name = 'pirn1_cas', callback = cas }
redis.register_function{ function_name = 'pirn1_registry', callback = registry }

-- Refused when out of memory are those that take more in: store, emit (settle with events that a run
-- sends), redrive, op, claim. Those that an owner lives by, or that give memory back, are not.
redis.register_function{ function_name = 'pirn1_open', callback = open, flags = {'allow-oom'} }
redis.register_function{ function_name = 'pirn1_beat', callback = beat, flags = {'allow-oom'} }
redis.register_function{ function_name = 'pirn1_adopt', callback = adopt, flags = {'allow-oom'} }
redis.register_function{ function_name = 'pirn1_leave', callback = leave, flags = {'allow-oom'} }
redis.register_function{ function_name = 'pirn1_drop', callback = drop, flags = {'allow-oom'} }
redis.register_function{ function_name = 'pirn1_read', callback = read, flags = {'no-writes'} }
redis.register_function{
	function_name = 'pirn1_store',
	callback = function(keys, args) return store(keys, args, false) end,
}
redis.register_function{
	function_name = 'pirn1_store_shared',
	callback = function(keys, args) return store(keys, args, true) end,
}
redis.register_function{ function_name = 'pirn1_settle', callback = settle, flags = {'allow-oom'} }
redis.register_function{ function_name = 'pirn1_emit', callback = settle }
redis.register_function{ function_name = 'pirn1_result', callback = result, flags = {'no-writes'} }
redis.register_function{ function_name = 'pirn1_redrive', callback = redrive }
redis.register_function{ function_name = 'pirn1_letter', callback = letter, flags = {'no-writes'} }
redis.register_function{ function_name = 'pirn1_purge', callback = purge, flags = {'allow-oom'} }
redis.register_function{ function_name = 'pirn1_op', callback = op }
redis.register_function{ function_name = 'pirn1_claim', callback = claim }
redis.register_function{ function_name = 'pirn1_answer', callback = answer, flags = {'allow-oom'} }
