/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/devset_exclude.h"

#include "pool/devset_priv.h"

struct cfs_dev *cfs_devset_take(struct cfs_devset *set, uint32_t index)
{
	return __atomic_exchange_n(&set->slots[index]->dev, NULL,
				   __ATOMIC_SEQ_CST);
}

void cfs_devset_exclude(struct cfs_devset *set, uint32_t index)
{
	cfs_dev_close(cfs_devset_take(set, index));
}
