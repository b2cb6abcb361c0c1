//! IOMMU groups (Documentation/ABI/testing/sysfs-kernel-iommu_groups).

use std::collections::HashMap;

use p2pdma_pci::topology::Known;

use crate::attribute::{known, value};
use crate::{DomainType, IommuGroup, Tree};

/// The types of the groups that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    domains: HashMap<u32, Known<DomainType>>,
}

impl Groups {
    /// The group of a link's target; `None` if that is no group.
    pub(super) fn of_link(&mut self, tree: &dyn Tree, target: &str) -> Option<IommuGroup> {
        let (folder, name) = target.rsplit_once('/')?;
        let plain = name.bytes().all(|byte| byte.is_ascii_digit());
        let number = name.parse().ok().filter(|_| plain && folder.ends_with("iommu_groups"))?;
        let path = || format!("sys/kernel/iommu_groups/{number}/type");
        let domain = *self
            .domains
            .entry(number)
            .or_insert_with(|| known(value(tree, &path(), DomainType::from_name)));
        Some(IommuGroup { number, domain })
    }
}
