/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An open pool that many hosts share: what keeps its writer apart from those
 * before it that may still write, and from those behind it.  Within this
 * folder; everything here does nothing on a pool of one host.
 *
 * Slices.  Nothing is written to a slice before container 0 has said durably,
 * and behind a look at its gravestone, whose it is:
 *
 *   lent      FROZEN by our epoch -> headers, flush -> in use, mapped
 *   returned  FROZEN by our epoch, not mapped -> discard, headers, flush ->
 * free
 *
 * Who takes over leaves slices that an epoch froze alone until that is gone.
 *
 * Containers.  Before the first write of our epoch its record says that epoch;
 * where the one before may still write, it names new places for the root, in
 * slices that were lent for it, and the old ones as its base, until the root
 * stands in the new ones.
 */
#pragma once

#include "pool/shared.h"
#include "tree/container_takeover.h"
#include "volume/pool_priv.h"

/* At open, from opt->holder. */
void cfs_pool_shared_init(struct cfs_pool *pool, struct cfs_holder *holder);

/* ---- container 0 --------------------------------------------------------- */

/* Sets config->move if it must; @ret lives as long as that. */
void cfs_pool_shared_move0(struct cfs_pool *pool,
			   struct cfs_container_config *config,
			   struct cfs_container_move *ret);
/* Its root is durable in the new places: the seat says so. */
int cfs_pool_shared_moved0(struct cfs_pool *pool, struct cfs_err *err);
/* Slices of holders that are gone are free again. */
int cfs_pool_shared_thaw(struct cfs_pool *pool, struct cfs_err *err);

/*
 * Behind opening container 0 (@m NULL) or another one: what writers that are
 * gone had there is free, and slices that are empty go back to the pool.
 */
int cfs_pool_shared_settle(struct cfs_pool *pool, struct cfs_member *m,
			   struct cfs_err *err);

/* pool_leave.c: slices of it in which little is left are emptied.  A comfort:
 * what fails is done another time. */
void cfs_pool_leave_slices(struct cfs_pool *pool, struct cfs_member *m);

/* ---- others -------------------------------------------------------------- */

struct cfs_pool_move { /* of one container */
	struct cfs_container_move move;
	uint32_t *their_epoch; /* by logical slice: of the takeover,
				* not finished, that lent it; 0: none */
	uint64_t end;
};
void cfs_pool_move_donep(struct cfs_pool_move *m);

/*
 * Before container @id is opened: its record says our epoch, durably, and
 * @rec is as it stands then.  @config is set up for it.
 */
int cfs_pool_shared_enter(struct cfs_pool *pool, uint64_t id,
			  struct cfs_container_rec *rec,
			  struct cfs_container_config *config,
			  struct cfs_pool_move *ret, struct cfs_err *err);
/* Behind: its root stands where the record says. */
int cfs_pool_shared_entered(struct cfs_pool *pool, uint64_t id,
			    struct cfs_container_rec *rec, struct cfs_err *err);

/* ---- slices; container 0 locked ------------------------------------------ */

/* pool_slices.c: frozen by our epoch; @is_mapped false: and out of the map. */
int cfs_pool_slice_freeze(struct cfs_pool *pool, uint64_t container_id,
			  uint64_t lslice, const struct cfs_piece *pieces,
			  bool is_mapped, struct cfs_err *err);
int cfs_pool_slice_changes_put(struct cfs_pool *pool, uint64_t container_id,
			       uint64_t lslice, const struct cfs_piece *pieces,
			       struct cfs_err *err);
/* A slice that is empty goes back to the pool: out of the map, its next life
 * begins as free.  Generations in @pieces are raised. */
int cfs_pool_slice_return(struct cfs_pool *pool, uint64_t container_id,
			  const uint8_t uuid[16], uint64_t lslice,
			  struct cfs_piece *pieces, struct cfs_err *err);
uint64_t cfs_pool_free_lslice(const struct cfs_metavolume *mv, uint64_t from);
/* pool.c */
void cfs_pool_root_places(const struct cfs_metavolume *mv,
			  const uint64_t root_vaddr[CFS_ROOT_PLACES_MAX],
			  struct cfs_place ret[CFS_ROOT_PLACES_MAX]);
