use wxsub_proto::{Language, LocalizedText, Remedy, named_enum};

/// The store failed, or it is unknown whether the operation took effect. It never contains a token or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, getset::CopyGetters)]
#[error("{}: {detail}; {}", .kind.localized(), .kind.advice())]
pub struct StoreError {
    /// What is wrong.
    #[getset(get_copy = "pub")]
    kind: StoreErrorKind,
    detail: String,
}

impl StoreError {
    /// Creates an error. `detail` is the cause, and must not contain a secret.
    pub fn new(kind: StoreErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// Returns what to do about it. [`Remedy::FixConfig`] if time will not help.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        self.kind.remedy()
    }

    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let texts = [self.kind.localized(), self.kind.advice()];
        let [kind, advice] = texts.map(|text| text.in_language(Language::Chinese));
        LocalizedText::new(self.to_string(), format!("{kind}：{}；{advice}", self.detail))
    }
}

named_enum! {
    /// What is wrong with a store.
    #[non_exhaustive]
    pub enum StoreErrorKind {
        /// There is no connection, or no response in time.
        Unreachable = "unreachable",
        /// The name of its host cannot be resolved.
        UnknownHost = "unknown_host",
        /// Its certificate is not trusted, or TLS fails in another way.
        Certificate = "certificate",
        /// It refuses the user or the password.
        WrongCredentials = "wrong_credentials",
        /// The user may not use a command or a key.
        MissingRight = "missing_right",
        /// It refuses writes, because it is a replica.
        ReadOnly = "read_only",
        /// It refuses writes, because its memory is full.
        OutOfMemory = "out_of_memory",
        /// It is one node of a cluster, which is not supported.
        Cluster = "cluster",
        /// The record was encrypted with a key that this process does not have.
        EncryptionKey = "encryption_key",
        /// The record cannot be read. The next lease holder replaces it.
        BrokenRecord = "broken_record",
        /// A newer version wrote the record. It is never changed.
        NewerLayout = "newer_layout",
        /// The record belongs to another upstream: another base URL.
        OtherUpstream = "other_upstream",
        /// The token in the record is from the other token endpoint. It is used until the next refresh.
        OtherEndpoint = "other_endpoint",
        /// One peer has held the lease for longer than an attempt takes.
        LeaseHeld = "lease_held",
        /// The store failed in another way.
        Failed = "failed",
    }
}

impl StoreErrorKind {
    /// Returns what to do about it. [`Remedy::FixConfig`] if time will not help.
    #[must_use]
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Unreachable | Self::BrokenRecord | Self::OtherEndpoint => Remedy::RetryLater,
            Self::LeaseHeld | Self::Failed => Remedy::Investigate,
            _ => Remedy::FixConfig,
        }
    }

    /// What to do, as one clause for people.
    #[must_use]
    pub const fn advice(self) -> LocalizedText {
        let (english, chinese) = match self {
            Self::Unreachable => (
                "the server tries again; check that the store runs and can be reached from here",
                "服务器会继续重试；请检查存储是否在运行、从本机能否连接",
            ),
            Self::UnknownHost => (
                "correct the host in the address of the store, or the DNS",
                "请修改存储地址中的主机名，或检查 DNS",
            ),
            Self::Certificate => (
                "name the certificate authority of the store, and the host as in its certificate",
                "请配置存储的 CA 证书；地址中的主机名要与证书一致",
            ),
            Self::WrongCredentials => (
                "correct the password file, or the user in the address of the store",
                "请修改密码文件，或存储地址中的用户名",
            ),
            Self::MissingRight => {
                ("grant the rights that docs/cluster.md lists", "请授予 docs/cluster.md 列出的权限")
            }
            Self::ReadOnly => (
                "use the address of the master, or sentinels, which name it",
                "请使用主节点的地址，或使用 sentinel",
            ),
            Self::OutOfMemory => {
                ("raise maxmemory, or set an eviction policy", "请调大 maxmemory，或设置淘汰策略")
            }
            Self::Cluster => {
                ("use one Redis server, or one with sentinels", "请使用单个 Redis，或带 sentinel 的 Redis")
            }
            Self::EncryptionKey => {
                ("give all servers the same encryption key", "请为所有服务器配置相同的加密密钥")
            }
            Self::BrokenRecord => (
                "nothing: the next server that fetches replaces it",
                "无需处理：下一个获取 access_token 的服务器会替换它",
            ),
            Self::NewerLayout => ("update wxsub on this server", "请升级本服务器的 wxsub"),
            Self::OtherUpstream => (
                "give each environment its own prefix, and all servers of one the same api_base",
                "请为每个环境设置不同的 prefix；同一环境的服务器要使用相同的 api_base",
            ),
            Self::OtherEndpoint => (
                "nothing: it is valid, and a refresh replaces it; if this stays, give all servers the same token_endpoint",
                "无需处理：它有效，刷新时会被替换；如果一直如此，请为所有服务器设置相同的 token_endpoint",
            ),
            Self::LeaseHeld => ("look at the server that holds it", "请检查持有租约的服务器"),
            Self::Failed => {
                ("look at the log of the store; the server tries again", "请查看存储的日志；服务器会继续重试")
            }
        };
        LocalizedText::new(english, chinese)
    }

    /// What is wrong, as one clause in every language.
    #[must_use]
    pub const fn localized(self) -> LocalizedText {
        let (english, chinese) = match self {
            Self::Unreachable => ("the token store does not answer", "access_token 存储没有响应"),
            Self::UnknownHost => {
                ("the host of the token store is unknown", "access_token 存储的主机名无法解析")
            }
            Self::Certificate => {
                ("the certificate of the token store is not accepted", "access_token 存储的证书不被接受")
            }
            Self::WrongCredentials => {
                ("the token store refuses the user or the password", "access_token 存储拒绝了用户名或密码")
            }
            Self::MissingRight => {
                ("the user of the token store lacks a right", "access_token 存储的用户缺少权限")
            }
            Self::ReadOnly => ("the token store is read-only", "access_token 存储是只读的"),
            Self::OutOfMemory => ("the token store has no memory left", "access_token 存储内存不足"),
            Self::Cluster => {
                ("the token store is a cluster, which is not supported", "access_token 存储是集群，不支持")
            }
            Self::EncryptionKey => (
                "the record in the token store was encrypted with another key",
                "存储中的记录是用另一个密钥加密的",
            ),
            Self::BrokenRecord => ("the record in the token store is broken", "存储中的记录已损坏"),
            Self::NewerLayout => {
                ("the record in the token store has a newer layout", "存储中的记录由更新的版本写入")
            }
            Self::OtherUpstream => {
                ("the record in the token store belongs to another upstream", "存储中的记录属于另一个上游")
            }
            Self::OtherEndpoint => (
                "the token in the token store is from the other token endpoint",
                "存储中的 access_token 来自另一种 token_endpoint",
            ),
            Self::LeaseHeld => ("a peer does not release the lease", "另一台服务器没有释放租约"),
            Self::Failed => ("the token store failed", "access_token 存储出错"),
        };
        LocalizedText::new(english, chinese)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_has_its_own_name_and_words() {
        let all = StoreErrorKind::ALL;
        let names: HashSet<_> = all.iter().map(|kind| kind.as_str()).collect();
        let words: HashSet<_> = all.iter().map(|kind| kind.localized()).collect();
        let advice: HashSet<_> = all.iter().map(|kind| kind.advice()).collect();
        assert_eq!([names.len(), words.len(), advice.len()], [all.len(); 3]);
    }

    #[test]
    fn error_names_kind_cause_and_advice() {
        let error = StoreError::new(StoreErrorKind::ReadOnly, "READONLY");
        let text = "the token store is read-only: READONLY; use the address of the master, or sentinels, which name it";
        assert_eq!((error.to_string().as_str(), error.remedy()), (text, Remedy::FixConfig));
        assert_eq!(StoreErrorKind::Unreachable.remedy(), Remedy::RetryLater);
    }
}
