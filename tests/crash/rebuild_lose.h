/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The loss, for the test of rebuild: slices are read by what cfs(5) says, byte
 * by byte and past the library, and every block that a tag calls a node of a
 * map or a root is zeroed; of the small tables the inner nodes.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#define BLOCK       4096u
#define SLICE_BYTES (UINT64_C(1) << 20)

static uint16_t rd16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t rd32(const uint8_t *p)
{
	return rd16(p) | (uint32_t)rd16(p + 2) << 16;
}

static uint64_t rd64(const uint8_t *p)
{
	return rd32(p) | (uint64_t)rd32(p + 4) << 32;
}

/* cfs(5), Pages: magic, kind. */
static bool is_page(const uint8_t *p, unsigned int kind)
{
	return memcmp(p, "CFPG", 4) == 0 && rd16(p + 6) == kind;
}

struct slice_layout {
	uint32_t blocks, groups, data_start, data_count;
};

/* cfs(5), Geometry; slices below 16 MiB are not padded. */
static struct slice_layout layout(void)
{
	struct slice_layout l = { .blocks = SLICE_BYTES / BLOCK };

	do {
		l.groups++;
		l.data_start = 1 + l.groups;
		l.data_count = l.blocks - 1 - l.groups - l.data_start;
	} while (126 * l.groups < l.data_count);
	return l;
}

/* Which life, and whose; 0: free, or nobody's. */
static uint32_t slice_owner(const uint8_t *slice, uint64_t *ret_container)
{
	uint32_t best = 0;

	for (unsigned int slot = 0; slot < 2; slot++) {
		const uint8_t *p = slice + (slot ? SLICE_BYTES - BLOCK : 0);
		uint32_t generation;

		if (!is_page(p, 3))
			continue;
		generation = rd32(p + 52);
		if (generation <= best)
			continue;
		best = rd32(p + 64 + 64) == 1 ? generation : 0;
		*ret_container = rd64(p + 64 + 32);
	}
	return best;
}

struct loss {
	unsigned int nodes, inner, roots;
};

static void lose_block(uint8_t *block, unsigned int type, struct loss *loss)
{
	switch (type) {
	case 2:
		loss->nodes++;
		break;
	case 3: /* a leaf of the small tables stays */
		if (memcmp(block, "CFND", 4) != 0 || block[7] == 0)
			return;
		loss->inner++;
		break;
	case 4:
		loss->roots++;
		break;
	default:
		return;
	}
	memset(block, 0, BLOCK);
}

static void lose_slice(uint8_t *slice, uint32_t generation, struct loss *loss)
{
	const struct slice_layout l = layout();

	for (uint32_t g = 0; g < l.groups; g++) {
		const uint8_t *best = NULL;

		for (unsigned int slot = 0; slot < 2; slot++) {
			const uint8_t *p = slice +
					   (uint64_t)BLOCK *
						   (slot ? l.blocks - 1 -
								    l.groups + g
							 : 1 + g);

			if (is_page(p, 4) && rd32(p + 52) == generation &&
			    (!best || rd64(p + 8) > rd64(best + 8)))
				best = p;
		}
		for (uint32_t i = 0;
		     best && i < 126 && 126 * g + i < l.data_count; i++) {
			const uint8_t *tag = best + 64 + 32 * i;

			lose_block(slice + (uint64_t)BLOCK *
						   (l.data_start + 126 * g + i),
				   (unsigned int)(rd64(tag + 16) >> 10 & 0x3f),
				   loss);
		}
	}
}
