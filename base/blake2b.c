#include "base/blake2b.h"

#include <assert.h>
#include <string.h>

#define BLOCK  128u
#define ROUNDS 12

static const uint64_t iv[8] = {
	0x6a09e667f3bcc908,
	0xbb67ae8584caa73b,
	0x3c6ef372fe94f82b,
	0xa54ff53a5f1d36f1,
	0x510e527fade682d1,
	0x9b05688c2b3e6c1f,
	0x1f83d9abfb41bd6b,
	0x5be0cd19137e2179,
};

/* Which words a round takes; the eleventh and twelfth are the first and second again. */
static const uint8_t sigma[10][16] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
	{ 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
	{ 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
	{ 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
	{ 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};

/* The words that each of a round's eight mixings works on. */
static const uint8_t lanes[8][4] = {
	{ 0, 4, 8, 12 },
	{ 1, 5, 9, 13 },
	{ 2, 6, 10, 14 },
	{ 3, 7, 11, 15 },
	{ 0, 5, 10, 15 },
	{ 1, 6, 11, 12 },
	{ 2, 7, 8, 13 },
	{ 3, 4, 9, 14 },
};

static uint64_t word_at(const uint8_t *p)
{
	uint64_t w = 0;

	for (unsigned i = 8; i-- > 0;)
		w = w << 8 | p[i];
	return w;
}

static uint64_t right(uint64_t x, unsigned n)
{
	return x >> n | x << (64 - n);
}

static void mix(uint64_t v[16], const uint8_t lane[4], uint64_t x, uint64_t y)
{
	uint64_t a = v[lane[0]], b = v[lane[1]], c = v[lane[2]], d = v[lane[3]];

	a += b + x;
	d = right(d ^ a, 32);
	c += d;
	b = right(b ^ c, 24);
	a += b + y;
	d = right(d ^ a, 16);
	c += d;
	b = right(b ^ c, 63);
	v[lane[0]] = a;
	v[lane[1]] = b;
	v[lane[2]] = c;
	v[lane[3]] = d;
}

/* total stands for the message's length so far; it has 64 of its 128 bits, which is enough for ever. */
static void compress(struct base_blake2b *h, const uint8_t *block, uint64_t last)
{
	uint64_t v[16], m[16];

	for (unsigned i = 0; i < 16; i++)
		m[i] = word_at(block + (size_t)8 * i);
	for (unsigned i = 0; i < 8; i++) {
		v[i] = h->state[i];
		v[i + 8] = iv[i];
	}
	v[12] ^= h->total;
	v[14] ^= last;
	for (unsigned round = 0; round < ROUNDS; round++) {
		const uint8_t *s = sigma[round % 10];

		for (unsigned i = 0; i < 8; i++)
			mix(v, lanes[i], m[s[2 * i]], m[s[2 * i + 1]]);
	}
	for (unsigned i = 0; i < 8; i++)
		h->state[i] ^= v[i] ^ v[i + 8];
}

void base_blake2b_init(struct base_blake2b *h, size_t out_size)
{
	assert(out_size >= 1 && out_size <= BASE_BLAKE2B_MAX);
	*h = (struct base_blake2b){ .out_size = out_size };
	memcpy(h->state, iv, sizeof iv);
	h->state[0] ^= 0x01010000 ^ (uint64_t)out_size;
}

void base_blake2b_add(struct base_blake2b *h, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size > 0) {
		size_t n = BLOCK - h->filled < size ? BLOCK - h->filled : size;

		/* A full block is kept until more comes: the last one is compressed differently. */
		if (n == 0) {
			h->total += BLOCK;
			compress(h, h->block, 0);
			h->filled = 0;
			continue;
		}
		memcpy(h->block + h->filled, at, n);
		h->filled += n;
		at += n;
		size -= n;
	}
}

void base_blake2b_end(struct base_blake2b *h, uint8_t *out)
{
	h->total += h->filled;
	memset(h->block + h->filled, 0, BLOCK - h->filled);
	compress(h, h->block, UINT64_MAX);
	for (size_t i = 0; i < h->out_size; i++)
		out[i] = (uint8_t)(h->state[i / 8] >> 8 * (i % 8));
}
