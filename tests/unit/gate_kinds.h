/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a late write is, by what stands in it; so that a test can say that each
 * kind was late in it, and not only hope so.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "ondisk/frame.h"
#include "ondisk/node.h"
#include "ondisk/page.h"

enum gate_kind {
	GATE_DATA,
	GATE_NODE,
	GATE_FRAME,		/* of a container's log */
	GATE_TABLE,		/* of the pool's log: tables, slices, loans */
	GATE_TAGS,
	GATE_ROOT,
	GATE_GRAVE,
	GATE_SEAT,
	GATE_HEADER,		/* of a slice */
	GATE_LABEL,
	GATE_DISCARD,
	GATE_KINDS,
};

#define GATE_KIND_NAMES							\
	"data", "node", "frame", "table frame", "tag page", "root",	\
	"gravestone", "seat", "slice header", "label", "discard"

/* Of a page that is ours; @block is a block of the device. */
static inline enum gate_kind gate_kind_of_page(const void *block)
{
	static const enum gate_kind kinds[] = {
		[CFS_PAGE_LABEL] = GATE_LABEL, [CFS_PAGE_SEAT] = GATE_SEAT,
		[CFS_PAGE_SLICE] = GATE_HEADER, [CFS_PAGE_TAGS] = GATE_TAGS,
		[CFS_PAGE_ROOT] = GATE_ROOT, [CFS_PAGE_GRAVE] = GATE_GRAVE,
	};
	const struct cfs_page_disk *page = block;
	const uint16_t kind = le16_get(page->kind);

	return kind > 0 && kind < CFS_ARRAY_COUNT(kinds) ? kinds[kind] : GATE_DATA;
}

static inline enum gate_kind gate_kind_of(const void *block)
{
	const struct cfs_frame_header_disk *frame = block;
	const struct cfs_node_header_disk *node = block;
	const struct cfs_page_disk *page = block;

	if (le32_get(frame->magic) == CFS_FRAME_MAGIC)
		return le64_get(frame->container_id) ? GATE_FRAME : GATE_TABLE;
	if (le32_get(node->magic) == CFS_NODE_MAGIC)
		return GATE_NODE;
	return le32_get(page->magic) == CFS_PAGE_MAGIC ?
	       gate_kind_of_page(block) : GATE_DATA;
}

/* What a write of so many bytes has in it; NULL: a discard.  A frame is one,
 * whatever data is in it. */
static inline void gate_count(unsigned int counts[GATE_KINDS],
			      const void *data, size_t length_bytes)
{
	if (!data) {
		counts[GATE_DISCARD]++;
		return;
	}
	for (size_t at = 0; at + CFS_PAGE_BYTES <= length_bytes;
	     at += CFS_PAGE_BYTES) {
		const enum gate_kind kind =
			gate_kind_of((const uint8_t *)data + at);

		counts[kind]++;
		if (kind == GATE_FRAME || kind == GATE_TABLE)
			break;
	}
}

static inline void gate_add(unsigned int sum[GATE_KINDS],
			    const unsigned int counts[GATE_KINDS])
{
	for (unsigned int i = 0; i < GATE_KINDS; i++)
		sum[i] += counts[i];
}

/* Each of @want, a bit a kind, was late at least once. */
static inline void gate_must_have(const unsigned int counts[GATE_KINDS],
				  unsigned int want)
{
	static const char *const names[] = { GATE_KIND_NAMES };

	for (unsigned int i = 0; i < GATE_KINDS; i++) {
		print_message("# late: %s: %u\n", names[i], counts[i]);
		if ((want & 1u << i) && !counts[i])
			fail_msg("no %s was late", names[i]);
	}
}
