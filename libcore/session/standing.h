/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a lease that stands by itself (CFS_HELLO_STANDING) is remembered by on
 * the host where it was taken, so that it survives its owner.
 *
 * A client that a manager's death finds connected comes back to the next one
 * with what it has in memory: who it is, what it holds, and until when by its
 * own clock.  The next manager knows nothing of any of it and takes the
 * client's word; what makes that word good is the clock, since nobody else can
 * have got the lease while the period runs (man/cfs.7).  A standing client has
 * no process, so that memory is a file beside the sockets, in a directory that
 * goes with the host's memory; it is never flushed.  A name that whoever has the
 * lease keeps could not be it: it does not say when the lease was last renewed,
 * nor that it was given back.
 *
 * What must stay true:
 *  N1 The file says no later time than that at which a request was sent whose
 *     answer showed that the lease was still had.
 *  N2 It is gone before the lease is given back.  Who gives one back for which
 *     there is no file here does not do so at once, but has it end with its
 *     period (REVOKE): the file is on another host, and means nothing by then.
 *  N3 It counts on the boot, and with the clocks, with which it was written; and
 *     it is used by one at a time.
 *  N4 That it was reclaimed is told to nobody if its period ended meanwhile.
 *
 * Called by leasectl, one thread.  Several processes may be at one file.
 */
#pragma once

#include "lease/conn_lease.h"
#include "lease/hand.h"
#include "lease/period.h"
#include "session/lease.h"

#define CFS_STANDING_LEASES_MAX 2u

struct cfs_standing_record {
	uint8_t pool_uuid[16];
	struct cfs_lease_name name; /* what it is called by */
	uint64_t epoch;             /* of the owner that knew it last */
	uint64_t period_ns;
	uint64_t boot_ns, raw_ns; /* as in struct cfs_lease_clock */
	uint32_t lease_count;     /* in the order in which they are reclaimed */
	struct cfs_handed_lease leases[CFS_STANDING_LEASES_MAX];
};

/* What @held (each after what it needs) is to be remembered by; it is called by
 * the last one. */
void cfs_standing_of(struct cfs_leaser *leaser, const uint8_t pool_uuid[16],
		     struct cfs_held *const *held, size_t count,
		     struct cfs_standing_record *ret);

/* Remember it in @directory, and forget those whose periods are over. */
int cfs_standing_keep(const char *directory,
		      const struct cfs_standing_record *rec,
		      struct cfs_err *err);

struct cfs_standing;

/*
 * What is remembered of @name, for nobody else until it is closed.
 * -ENOENT: nothing; -EBUSY: another process is at it.
 */
int cfs_standing_open(const char *directory, const uint8_t pool_uuid[16],
		      const struct cfs_lease_name *name,
		      struct cfs_standing **ret);
void cfs_standing_close(struct cfs_standing *st); /* NULL is allowed */
void cfs_standing_closep(struct cfs_standing **st);
const struct cfs_standing_record *cfs_standing_record(
	const struct cfs_standing *st);

/* Does the period run, as far as is known here? */
bool cfs_standing_still_runs(const struct cfs_standing *st);
/* N1: the owner of @epoch has answered what was sent behind @sent. */
void cfs_standing_renewed(struct cfs_standing *st, uint64_t epoch,
			  const struct cfs_lease_clock *sent);
/* The same by the answer to a HELLO. */
void cfs_standing_welcome(struct cfs_standing *st,
			  const struct cfs_msg_welcome *welcome,
			  const struct cfs_lease_clock *sent);
/* N2.  False: it could not be forgotten, and is not to be given back. */
bool cfs_standing_drop(struct cfs_standing *st);

/*
 * Come as that client, of the owner of @epoch, to the manager that @info is
 * about, reclaim what it has, and leave it standing there.
 * 0; -ESTALE: it is lost; -EAGAIN: the manager does not know yet whether it is
 * to say so: again a little later; errors as of cfs_manager_connect.
 */
int cfs_standing_reclaim(struct cfs_standing *st,
			 const struct cfs_manager_info *info, uint64_t epoch,
			 const char *name,
			 const struct cfs_session_options *opt,
			 unsigned int timeout_ms, struct cfs_err *err);
