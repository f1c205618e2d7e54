/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading as a client.  What a view names may have been freed and given other
 * content since, and checksums that were cached may be of what stood there
 * before; so the first failure says nothing.  Only what fails in two views is
 * damage.
 *
 * Nodes that were read are kept beyond the view that named them, by address
 * and checksum: the next view names most of them again.
 */
#include "tree/container_client_priv.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- the shelf ----------------------------------------------------------- */

static void shelf_drop(struct client_mode *m, struct shelf_node *n)
{
	HASH_DEL(m->shelf, n);
	free(n->image);
	free(n);
}

bool cfs_client_shelf_get(struct cfs_container *c,
			  const struct cfs_node_ref *ref, void *buf)
{
	struct client_mode *m = c->client;
	struct shelf_node *n;

	HASH_FIND(hh, m->shelf, &ref->vaddr[0], sizeof(ref->vaddr[0]), n);
	if (!n)
		return false;
	if (n->csum != ref->csum) { /* an earlier life of the place */
		shelf_drop(m, n);
		return false;
	}
	memcpy(buf, n->image, CFS_NODE_BYTES);
	return true;
}

/* It is only a cache: where memory is short, nothing is kept. */
void cfs_client_shelf_put(struct cfs_container *c,
			  const struct cfs_node_ref *ref, const void *buf)
{
	struct client_mode *m = c->client;
	struct shelf_node *n = calloc(1, sizeof(*n));

	if (n)
		n->image = malloc(CFS_NODE_BYTES);
	if (!n || !n->image) {
		free(n);
		return;
	}
	n->vaddr = ref->vaddr[0];
	n->csum = ref->csum;
	memcpy(n->image, buf, CFS_NODE_BYTES);
	if (HASH_CNT(hh, m->shelf) >= CFS_CLIENT_SHELF_NODES)
		shelf_drop(m, m->shelf); /* the oldest */
	if (CFS_HASH_ADD(m->shelf, vaddr, n) < 0) {
		free(n->image);
		free(n);
	}
}

void cfs_client_shelf_done(struct cfs_container *c)
{
	struct client_mode *m = c->client;

	while (m->shelf)
		shelf_drop(m, m->shelf);
}

/* ---- doubts -------------------------------------------------------------- */

int cfs_client_doubt(struct cfs_container *c, uint64_t vaddr,
		     struct cfs_err *err)
{
	struct client_mode *m = c->client;
	struct client_doubt *d;

	for (unsigned int i = 0; i < CFS_CLIENT_DOUBTS; i++)
		if (m->doubts[i].vaddr == vaddr &&
		    m->doubts[i].view < m->view_number)
			return cfs_err_set(err, -EUCLEAN,
					   "block at %#" PRIx64
					   ": bad content, and no copy is "
					   "good",
					   vaddr);
	d = &m->doubts[m->doubt_next++ % CFS_CLIENT_DOUBTS];
	d->vaddr = vaddr;
	d->view = m->view_number;
	return cfs_err_set(err, -EAGAIN,
			   "block at %#" PRIx64 ": not what an "
			   "old view says",
			   vaddr);
}

int cfs_container_read_again(struct cfs_container *c,
			     struct cfs_block_read *reads, size_t count, int r,
			     struct cfs_err *err)
{
	int first = 0;

	if (!c->client || r != -EUCLEAN)
		return r;
	for (size_t i = 0; i < count; i++) {
		struct cfs_block_read *rd = &reads[i];

		if (rd->result != -EUCLEAN && count > 1)
			continue;
		cfs_blocks_forget(c->blocks, cfs_vaddr_lslice(rd->vaddr));
		rd->result = cfs_block_read(c->blocks, rd, false, NULL, err);
		if (rd->result == -EUCLEAN)
			rd->result = cfs_client_doubt(
				c, rd->vaddr + rd->bad_index, err);
		if (rd->result < 0 && first == 0)
			first = rd->result;
	}
	return first;
}

int cfs_container_client_again(struct cfs_container *c, int r,
			       struct cfs_err *err)
{
	if (!c->client || r != -EAGAIN)
		return r;
	r = cfs_container_refresh(c, err);
	return r < 0 ? r : 1;
}
