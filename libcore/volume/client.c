/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening and closing a container in client mode, with its volumes. */
#include "volume/client.h"

#include "pool/metavolume.h"
#include "volume/vols.h"

#include <stdlib.h>
#include <string.h>

int cfs_client_member_open(struct cfs_devset *set,
			   const struct cfs_client_config *client,
			   const struct cfs_client_view *view,
			   uint64_t cache_bytes, struct cfs_member **ret,
			   struct cfs_err *err)
{
	struct cfs_container_config config = {
		.cache_bytes = cache_bytes,
		.hooks = &cfs_vols_hooks,
	};
	struct cfs_member *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	m->id = view->container_id;
	memcpy(m->rec.uuid, view->uuid, sizeof(m->rec.uuid));
	memcpy(config.uuid, view->uuid, sizeof(config.uuid));
	/* What its owner has begun, the owner ends. */
	m->is_finished = true;
	r = cfs_vols_new(&m->vols, err);
	if (r == 0)
		r = cfs_metavolume_new(set, m->id, &config.mv, err);
	config.hooks_ctx = m->vols;
	/* The map is the container's from here on, also if it fails. */
	if (r == 0)
		r = cfs_container_open_client(&config, client, view,
					      &m->container, err);
	if (r < 0) {
		cfs_vols_free(m->vols);
		free(m);
		return r;
	}
	*ret = m;
	return 0;
}

int cfs_client_member_close(struct cfs_member *m, struct cfs_err *err)
{
	int r;

	if (!m)
		return 0;
	r = cfs_container_close(m->container, err);
	cfs_vols_free(m->vols);
	free(m);
	return r;
}

void cfs_client_member_drop(struct cfs_member *m)
{
	if (!m)
		return;
	cfs_container_drop(m->container);
	cfs_vols_free(m->vols);
	free(m);
}
