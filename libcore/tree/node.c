/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keys and records of one node.  Everything that needs several nodes rewritten
 * (split, merge, evening out) works on a list of records gathered from copies
 * of the images, so that there is one way to fill a node.
 *
 * Nothing here fails: who calls has looked for room and memory before.
 */
#include "base/bits.h"
#include "tree/tree_priv.h"

_Static_assert(CFS_NODE_BYTES - sizeof(struct cfs_node_header_disk) == 4000,
	       "the limits in tree_priv.h are made for 4000 bytes");
/* A cut with both sides fitting exists as long as three records fit. */
_Static_assert(3 * (CFS_TREC_BYTES_MAX + CFS_SLOT_BYTES) <= 4000,
	       "CFS_VALUE_BYTES_MAX");

int cfs_key_cmp(const struct cfs_key *a, const struct cfs_key *b)
{
	for (unsigned int i = 0; i < CFS_KEY_WORDS_MAX; i++)
		if (a->w[i] != b->w[i])
			return a->w[i] < b->w[i] ? -1 : 1;
	return 0;
}

void cfs_tkey_store(uint8_t *p, const struct cfs_key *key, unsigned int words)
{
	for (unsigned int i = 0; i < words; i++) {
		le64 w = le64_put(key->w[i]);

		memcpy(p + 8 * i, &w, sizeof(w));
	}
}

bool cfs_tkey_inc(struct cfs_key *key, unsigned int words)
{
	while (words--)
		if (++key->w[words])
			return true;
	return false;
}

bool cfs_tkey_dec(struct cfs_key *key, unsigned int words)
{
	while (words--)
		if (key->w[words]--)
			return true;
	return false;
}

static inline int record_cmp(const uint8_t *record, const struct cfs_key *key,
			     unsigned int words)
{
	le64 w;

	for (unsigned int i = 0; i < words; i++) {
		memcpy(&w, record + 8 * i, sizeof(w));
		if (le64_get(w) != key->w[i])
			return le64_get(w) < key->w[i] ? -1 : 1;
	}
	return 0;
}

/*
 * Keys often come in order, or twice: so the record that was found last is
 * asked first, and the one behind it.  Narrows *@low and *@high; true: *@low is
 * the slot.
 */
static bool search_near(const struct cfs_tnode *node, const struct cfs_key *key,
			unsigned int *low, unsigned int *high,
			bool *ret_is_equal)
{
	unsigned int words = node->tree->config.key_words;

	for (unsigned int i = 0, at = node->found_slot; i < 2; i++, at++) {
		int c;

		if (at >= *high)
			return at == *high && i > 0;
		c = record_cmp(cfs_tnode_record(node, at), key, words);
		*ret_is_equal = c == 0;
		if (c == 0 || (c > 0 && i > 0)) {
			*low = at;
			return true;
		}
		if (c > 0) {
			*high = at;
			return false;
		}
		*low = at + 1;
	}
	return false;
}

static unsigned int search(const struct cfs_tnode *node,
			   const struct cfs_key *key, bool *ret_is_equal)
{
	unsigned int words = node->tree->config.key_words;
	unsigned int low = 0, high = node->record_count;

	*ret_is_equal = false;
	if (search_near(node, key, &low, &high, ret_is_equal))
		return low;
	while (low < high) {
		unsigned int middle = (low + high) / 2;
		int c = record_cmp(cfs_tnode_record(node, middle), key, words);

		if (c == 0) {
			*ret_is_equal = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

unsigned int cfs_tnode_search(struct cfs_tnode *node, const struct cfs_key *key,
			      bool *ret_is_equal)
{
	unsigned int slot = search(node, key, ret_is_equal);

	node->found_slot = (uint16_t)slot;
	return slot;
}

unsigned int cfs_tnode_child_slot(struct cfs_tnode *node,
				  const struct cfs_key *key)
{
	bool is_equal;
	unsigned int slot = cfs_tnode_search(node, key, &is_equal);

	return is_equal || slot == 0 ? slot : slot - 1;
}

struct cfs_trange cfs_tnode_child_range(const struct cfs_tnode *node,
					unsigned int slot)
{
	unsigned int words = node->tree->config.key_words;
	struct cfs_trange range = node->range;

	range.low = cfs_tkey_load(cfs_tnode_record(node, slot), words);
	if (slot + 1 < node->record_count) {
		range.high = cfs_tkey_load(cfs_tnode_record(node, slot + 1),
					   words);
		range.is_open = false;
	}
	return range;
}

unsigned int cfs_tnode_record_bytes(const struct cfs_tnode *node,
				    unsigned int slot)
{
	unsigned int n = cfs_tkey_bytes(node->tree);
	le16 value_bytes;

	if (node->level > 0)
		return n + CFS_REF_BYTES;
	memcpy(&value_bytes, cfs_tnode_record(node, slot) + n,
	       sizeof(value_bytes));
	return n + (unsigned int)sizeof(value_bytes) + le16_get(value_bytes);
}

const uint8_t *cfs_tnode_value(const struct cfs_tnode *leaf, unsigned int slot,
			       size_t *ret_bytes)
{
	const uint8_t *p = cfs_tnode_record(leaf, slot) +
			   cfs_tkey_bytes(leaf->tree);
	le16 value_bytes;

	memcpy(&value_bytes, p, sizeof(value_bytes));
	*ret_bytes = le16_get(value_bytes);
	return p + sizeof(value_bytes);
}

static inline uint8_t *slot_at(const struct cfs_tnode *node, unsigned int slot)
{
	return node->image + sizeof(struct cfs_node_header_disk) +
	       CFS_SLOT_BYTES * slot;
}

static void slot_set(struct cfs_tnode *node, unsigned int slot,
		     unsigned int offset)
{
	le16 at = le16_put((uint16_t)offset);

	memcpy(slot_at(node, slot), &at, sizeof(at));
}

static unsigned int gap_bytes(const struct cfs_tnode *node)
{
	return node->records_start -
	       (unsigned int)sizeof(struct cfs_node_header_disk) -
	       CFS_SLOT_BYTES * node->record_count;
}

unsigned int cfs_tnode_gather(const struct cfs_tnode *node,
			      const uint8_t *image, struct cfs_trec *recs)
{
	for (unsigned int i = 0; i < node->record_count; i++) {
		recs[i].bytes = image +
				(cfs_tnode_record(node, i) - node->image);
		recs[i].n = cfs_tnode_record_bytes(node, i);
		recs[i].child = node->children ? node->children[i] : NULL;
	}
	return node->record_count;
}

void cfs_tnode_fill(struct cfs_tnode *node, const struct cfs_trec *recs,
		    unsigned int count)
{
	unsigned int start = CFS_NODE_BYTES;

	memset(node->image, 0, CFS_NODE_BYTES);
	node->cached_count = 0;
	for (unsigned int i = 0; i < count; i++) {
		assert(recs[i].n + CFS_SLOT_BYTES * (i + 1) +
			       sizeof(struct cfs_node_header_disk) <=
		       start);
		start -= recs[i].n;
		memcpy(node->image + start, recs[i].bytes, recs[i].n);
		slot_set(node, i, start);
		if (!node->children)
			continue;
		node->children[i] = recs[i].child;
		if (recs[i].child) {
			recs[i].child->parent = node;
			node->cached_count++;
		}
	}
	node->record_count = (uint16_t)count;
	node->records_start = (uint16_t)start;
	node->live_bytes = (uint16_t)(CFS_NODE_BYTES - start);
	node->last_slot = CFS_TNODE_NO_SLOT;
}

/* Push the records together at the end of the node. */
static void compact(struct cfs_tnode *node)
{
	struct cfs_trec recs[CFS_TNODE_RECORDS_MAX];
	uint8_t copy[CFS_NODE_BYTES];
	uint16_t last_slot = node->last_slot;
	unsigned int count;

	memcpy(copy, node->image, sizeof(copy));
	count = cfs_tnode_gather(node, copy, recs);
	cfs_tnode_fill(node, recs, count);
	node->last_slot = last_slot;
}

void cfs_tnode_insert(struct cfs_tnode *node, unsigned int slot,
		      const uint8_t *rec, unsigned int n,
		      struct cfs_tnode *child)
{
	unsigned int after = node->record_count - slot;

	assert(n + CFS_SLOT_BYTES <= cfs_tnode_free_bytes(node));
	if (gap_bytes(node) < n + CFS_SLOT_BYTES)
		compact(node);
	node->records_start = (uint16_t)(node->records_start - n);
	memcpy(node->image + node->records_start, rec, n);
	memmove(slot_at(node, slot + 1), slot_at(node, slot),
		CFS_SLOT_BYTES * after);
	slot_set(node, slot, node->records_start);
	node->record_count++;
	node->live_bytes = (uint16_t)(node->live_bytes + n);
	node->last_slot = (uint16_t)slot;
	if (!node->children)
		return;
	memmove(&node->children[slot + 1], &node->children[slot],
		sizeof(*node->children) * after);
	node->children[slot] = NULL;
	if (child)
		cfs_tnode_link(node, slot, child);
}

/* A child at @slot, if in memory, was taken off before or moved away. */
void cfs_tnode_remove(struct cfs_tnode *node, unsigned int slot)
{
	unsigned int n = cfs_tnode_record_bytes(node, slot);
	unsigned int after = node->record_count - slot - 1;
	size_t start = (size_t)(cfs_tnode_record(node, slot) - node->image);

	if (start == node->records_start)
		node->records_start = (uint16_t)(start + n);
	node->live_bytes = (uint16_t)(node->live_bytes - n);
	memmove(slot_at(node, slot), slot_at(node, slot + 1),
		CFS_SLOT_BYTES * after);
	node->record_count--;
	if (node->children)
		memmove(&node->children[slot], &node->children[slot + 1],
			sizeof(*node->children) * after);
}

void cfs_tnode_replace(struct cfs_tnode *node, unsigned int slot,
		       const uint8_t *rec, unsigned int n)
{
	if (n == cfs_tnode_record_bytes(node, slot)) {
		memcpy(cfs_tnode_record(node, slot), rec, n);
		return;
	}
	cfs_tnode_remove(node, slot);
	cfs_tnode_insert(node, slot, rec, n, NULL);
}

void cfs_tnode_rekey(struct cfs_tnode *node, unsigned int slot,
		     const struct cfs_key *key)
{
	cfs_tkey_store(cfs_tnode_record(node, slot), key,
		       node->tree->config.key_words);
}

static unsigned int recs_bytes(const struct cfs_trec *recs, unsigned int count)
{
	unsigned int sum = CFS_SLOT_BYTES * count;

	for (unsigned int i = 0; i < count; i++)
		sum += recs[i].n;
	return sum;
}

/*
 * How many of @recs come to the left so that it has about @want_bytes; both
 * sides get at least one.
 */
static unsigned int cut_at(const struct cfs_trec *recs, unsigned int count,
			   unsigned int want_bytes)
{
	unsigned int cut, sum = 0;

	assert(count >= 2);
	for (cut = 0; cut < count; cut++) {
		unsigned int n = recs[cut].n + CFS_SLOT_BYTES;

		/* The nearer of both sides of the record in the middle. */
		if (sum + n > want_bytes &&
		    sum + n - want_bytes >
			    want_bytes - CFS_MIN(sum, want_bytes))
			break;
		sum += n;
	}
	return CFS_MIN(CFS_MAX(cut, 1u), count - 1);
}

/* Both have their records from @recs, cut after @cut. */
static void fill_both(struct cfs_tnode *left, struct cfs_tnode *right,
		      const struct cfs_trec *recs, unsigned int count,
		      unsigned int cut)
{
	cfs_tnode_fill(left, recs, cut);
	cfs_tnode_fill(right, recs + cut, count - cut);
	right->range.low = cfs_tkey_load(recs[cut].bytes,
					 left->tree->config.key_words);
	left->range.high = right->range.low;
	left->range.is_open = false;
}

/*
 * Records that come in order leave full nodes behind: a leaf in which the one
 * before was put just beside this one is cut where they are put, so that what
 * comes next has a leaf to itself.
 */
static unsigned int leaf_cut(const struct cfs_tnode *left, unsigned int slot,
			     const struct cfs_trec *recs, unsigned int count)
{
	unsigned int before = recs_bytes(recs, slot);
	unsigned int bytes = recs_bytes(recs, count);
	unsigned int own = recs[slot].n + CFS_SLOT_BYTES;

	if (left->last_slot + 1u == slot)
		return slot + 1 < count && before + own <= CFS_TNODE_ROOM_BYTES
			       ? slot + 1
			       : slot;
	if (left->last_slot == slot && slot + 1 < count)
		return slot > 0 && bytes - before <= CFS_TNODE_ROOM_BYTES
			       ? slot
			       : slot + 1;
	return cut_at(recs, count, bytes / 2);
}

/* The same; but an interior node must not have a single child. */
static unsigned int interior_cut(unsigned int slot, const struct cfs_trec *recs,
				 unsigned int count)
{
	unsigned int bytes = recs_bytes(recs, count);

	if (slot + 1 == count)
		return cut_at(recs, count, bytes - bytes / 10);
	if (slot == 1)
		return cut_at(recs, count, bytes / 10);
	return cut_at(recs, count, bytes / 2);
}

/* Falling keys go on in @right: all between the two belongs to it. */
static void range_widen(struct cfs_tnode *left, struct cfs_tnode *right)
{
	unsigned int words = left->tree->config.key_words;
	struct cfs_key key;

	key = cfs_tkey_load(cfs_tnode_record(left, left->record_count - 1u),
			    words);
	/* There is a next one: @right has a higher key. */
	cfs_tkey_inc(&key, words);
	left->range.high = key;
	right->range.low = key;
}

void cfs_tnode_split(struct cfs_tnode *left, struct cfs_tnode *right,
		     unsigned int slot, bool is_replace, const uint8_t *rec,
		     unsigned int n, struct cfs_tnode *child)
{
	struct cfs_trec recs[CFS_TNODE_RECORDS_MAX];
	struct cfs_trec new_rec = { .bytes = rec, .n = n, .child = child };
	uint8_t copy[CFS_NODE_BYTES];
	unsigned int count, cut;
	bool is_falling;

	memcpy(copy, left->image, sizeof(copy));
	count = cfs_tnode_gather(left, copy, recs);
	if (!is_replace) {
		memmove(&recs[slot + 1], &recs[slot],
			sizeof(*recs) * (count - slot));
		count++;
	}
	recs[slot] = new_rec;
	if (is_replace)
		cut = cut_at(recs, count, recs_bytes(recs, count) / 2);
	else if (left->level > 0)
		cut = interior_cut(slot, recs, count);
	else
		cut = leaf_cut(left, slot, recs, count);
	right->range = left->range;
	is_falling = left->level == 0 && left->last_slot == slot && cut == slot;
	fill_both(left, right, recs, count, cut);
	if (is_falling)
		range_widen(left, right);
	/* The next one in order goes on where this one was put. */
	if (slot >= cut)
		right->last_slot = (uint16_t)(slot - cut);
	else
		left->last_slot = (uint16_t)slot;
}

void cfs_tnode_merge(struct cfs_tnode *left, struct cfs_tnode *right)
{
	struct cfs_trec recs[2 * CFS_TNODE_RECORDS_MAX];
	uint8_t copy[CFS_NODE_BYTES];
	unsigned int count;

	memcpy(copy, left->image, sizeof(copy));
	count = cfs_tnode_gather(left, copy, recs);
	count += cfs_tnode_gather(right, right->image, recs + count);
	cfs_tnode_fill(left, recs, count);
	left->range.high = right->range.high;
	left->range.is_open = right->range.is_open;
	right->record_count = 0;
	right->cached_count = 0;
}

void cfs_tnode_even_out(struct cfs_tnode *left, struct cfs_tnode *right)
{
	struct cfs_trec recs[2 * CFS_TNODE_RECORDS_MAX];
	uint8_t copies[2][CFS_NODE_BYTES];
	unsigned int count;

	memcpy(copies[0], left->image, CFS_NODE_BYTES);
	memcpy(copies[1], right->image, CFS_NODE_BYTES);
	count = cfs_tnode_gather(left, copies[0], recs);
	count += cfs_tnode_gather(right, copies[1], recs + count);
	fill_both(left, right, recs, count,
		  cut_at(recs, count, recs_bytes(recs, count) / 2));
}
