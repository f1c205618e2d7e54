/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From errno, which libcore speaks, to the exit status scripts read. */
#include "common/status.h"

static int plain_status(int code)
{
	switch (-code) {
	case 0:
		return CFS_STATUS_DONE;
	case EINVAL:
	case ENAMETOOLONG:
		return CFS_STATUS_USAGE;
	case ENOENT:
		return CFS_STATUS_ABSENT;
	case EBUSY:
	case EAGAIN:
	case ETXTBSY:
	case ETIMEDOUT: /* a holder that did not let go in time */
	case ESTALE:    /* our lease was lost to somebody */
		return CFS_STATUS_BUSY;
	case ECANCELED:
		return CFS_STATUS_REFUSED;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return CFS_STATUS_NO_SPACE;
	case EUCLEAN:
		return CFS_STATUS_DAMAGED;
	case EMEDIUMTYPE:
	case ENOTSUP:
		return CFS_STATUS_NOT_CFS;
	case EIO:
	case ENODEV:
	case ENXIO:
		return CFS_STATUS_DEVICE;
	case EPERM:
	case EACCES:
	case EROFS:
		return CFS_STATUS_DENIED;
	default:
		return CFS_STATUS_FAILED;
	}
}

static int fsck_status(int code)
{
	switch (-code) {
	case 0:
		return CFS_FSCK_CLEAN;
	case EINVAL:
	case ENAMETOOLONG:
		return CFS_FSCK_USAGE;
	case EUCLEAN:
		return CFS_FSCK_DAMAGE_LEFT;
	case EINTR:
		return CFS_FSCK_CANCELLED;
	default:
		return CFS_FSCK_FAILED;
	}
}

int cfs_status_of(int code, bool is_fsck)
{
	return is_fsck ? fsck_status(code) : plain_status(code);
}

int cfs_status_join(int a, int b, bool is_fsck)
{
	int bits;

	if (!is_fsck)
		return a > b ? a : b;
	bits = a | b;
	/* "Healed" says that nothing is left. */
	if (bits & CFS_FSCK_DAMAGE_LEFT)
		bits &= ~CFS_FSCK_HEALED;
	return bits;
}
