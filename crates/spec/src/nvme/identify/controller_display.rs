//! Identify Controller in words: a line for each field, as tools print it.

use core::fmt;

use super::IdentifyController;
use crate::words::{Hex, lines};

impl fmt::Display for IdentifyController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity(f)?;
        self.admin(f)?;
        self.limits(f)?;
        self.io(f)?;
        self.migration_and_fabrics(f)?;
        let states = usize::from(self.npss_z) + 1;
        for (number, state) in self.psd.iter().take(states).enumerate() {
            write!(f, "\nps {number:>7}: {state}")?;
        }
        Ok(())
    }
}

impl IdentifyController {
    fn identity(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(
            f,
            &[
                ("VID", &Hex(self.vid)),
                ("SSVID", &Hex(self.ssvid)),
                ("SN", &self.sn),
                ("MN", &self.mn),
                ("FR", &self.fr),
                ("RAB", &self.rab),
                ("IEEE", &Hex(self.oui())),
                ("CMIC", &self.cmic),
                ("MDTS", &self.mdts),
                ("CNTLID", &Hex(self.cntlid)),
                ("VER", &self.ver),
                ("RTD3R", &self.rtd3r),
                ("RTD3E", &self.rtd3e),
                ("OAES", &self.oaes),
                ("CTRATT", &self.ctratt),
                ("RRLS", &Hex(self.rrls)),
                ("BPCAP", &self.bpcap),
                ("NSSL", &self.nssl),
                ("PLSI", &self.plsi),
                ("CNTRLTYPE", &self.cntrltype),
                ("FGUID", &Hex(u128::from_be_bytes(self.fguid))),
                ("CRDT1", &self.crdt[0]),
                ("CRDT2", &self.crdt[1]),
                ("CRDT3", &self.crdt[2]),
                ("CRCAP", &self.crcap),
                ("NVMSR", &self.nvmsr),
                ("VWCI", &self.vwci),
                ("MEC", &self.mec),
            ],
        )
    }

    fn admin(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        lines(
            f,
            &[
                ("OACS", &self.oacs),
                ("ACL", &self.acl_z),
                ("AERL", &self.aerl_z),
                ("FRMW", &self.frmw),
                ("LPA", &self.lpa),
                ("ELPE", &self.elpe_z),
                ("NPSS", &self.npss_z),
                ("AVSCC", &self.avscc),
                ("APSTA", &self.apsta),
                ("WCTEMP", &self.wctemp),
                ("CCTEMP", &self.cctemp),
                ("MTFA", &self.mtfa),
                ("HMPRE", &self.hmpre),
                ("HMMIN", &self.hmmin),
                ("TNVMCAP", &self.tnvmcap),
                ("UNVMCAP", &self.unvmcap),
                ("RPMBS", &self.rpmbs),
                ("EDSTT", &self.edstt),
                ("DSTO", &self.dsto),
                ("FWUG", &self.fwug),
                ("KAS", &self.kas),
            ],
        )
    }

    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        lines(
            f,
            &[
                ("HCTMA", &self.hctma),
                ("MNTMT", &self.mntmt),
                ("MXTMT", &self.mxtmt),
                ("SANICAP", &self.sanicap),
                ("HMMINDS", &self.hmminds),
                ("HMMAXD", &self.hmmaxd),
                ("NSETIDMAX", &self.nsetidmax),
                ("ENDGIDMAX", &self.endgidmax),
                ("ANATT", &self.anatt),
                ("ANACAP", &self.anacap),
                ("ANAGRPMAX", &self.anagrpmax),
                ("NANAGRPID", &self.nanagrpid),
                ("PELS", &self.pels),
                ("DID", &self.did),
                ("KPIOC", &self.kpioc),
                ("MPTFAWR", &self.mptfawr),
                ("MEGCAP", &self.megcap),
                ("TMPTHHA", &self.tmpthha),
                ("CQT", &self.cqt),
            ],
        )
    }

    fn io(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        lines(
            f,
            &[
                ("SQES", &self.sqes),
                ("CQES", &self.cqes),
                ("MAXCMD", &self.maxcmd),
                ("NN", &self.nn),
                ("ONCS", &self.oncs),
                ("FUSES", &self.fuses),
                ("FNA", &self.fna),
                ("VWC", &self.vwc),
                ("AWUN", &self.awun_z),
                ("AWUPF", &self.awupf_z),
                ("ICSVSCC", &self.icsvscc),
                ("NWPC", &self.nwpc),
                ("ACWU", &self.acwu_z),
                ("CDFS", &self.cdfs),
                ("SGLS", &self.sgls),
                ("MNAN", &self.mnan),
                ("MAXDNA", &self.maxdna),
                ("MAXCNA", &self.maxcna),
                ("OAQD", &self.oaqd),
                ("RHIRI", &self.rhiri),
                ("HIRT", &self.hirt),
            ],
        )
    }

    fn migration_and_fabrics(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        lines(
            f,
            &[
                ("CMMRTD", &self.cmmrtd),
                ("NMMRTD", &self.nmmrtd),
                ("MINMRTG", &self.minmrtg),
                ("MAXMRTG", &self.maxmrtg),
                ("TRATTR", &self.trattr),
                ("MCUDMQ", &self.mcudmq),
                ("MNSUDMQ", &self.mnsudmq),
                ("MCMR", &self.mcmr),
                ("NMCMR", &self.nmcmr),
                ("MCDQPC", &self.mcdqpc),
                ("SUBNQN", &self.subnqn),
                ("IOCCSZ", &self.ioccsz),
                ("IORCSZ", &self.iorcsz),
                ("ICDOFF", &self.icdoff),
                ("FCATT", &self.fcatt),
                ("MSDBD", &self.msdbd),
                ("OFCS", &self.ofcs),
                ("DCTYPE", &self.dctype),
            ],
        )
    }
}
