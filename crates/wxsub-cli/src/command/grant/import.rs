//! `wxsub grant import`: records consents that a team has kept elsewhere.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use wxsub_api::NewGrant;
use wxsub_client::ControlServer;
use wxsub_outbox::grant::{Consent, Subject, nonce_of_name};
use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::idempotency::{Fingerprint, IdempotencyKey};
use wxsub_outbox::ledger::{Change, FromApplied, NewConsent};
use wxsub_outbox::view::{ConsentOutcome, ConsentView};
use wxsub_proto::{AppId, OpenId, Scene, TemplateId};

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::input::{Line, LineReader, open_rewindable, unreadable};
use crate::language::{localized, shown};
use crate::ledger_file::{check_name, now, open_or_create};
use crate::outbox_access::{OutboxFlags, OutboxPlace, change_error};

/// How many consents one transaction records.
const CHUNK: usize = 500;

/// Record the consents of a JSON Lines file. Importing it again records nothing twice.
///
/// A line has openid (or touser), template_id and scene. It may have an id of yours and a consented_at, which tell two consents
/// for the same user, template and scene apart.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file, which is read twice; `-` reads a temporary copy of standard input
    #[arg(value_name = "F.jsonl")]
    file: PathBuf,
    #[command(flatten)]
    outbox: OutboxFlags,
}

/// A consent of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "one JSON object")]
struct ImportedConsent {
    /// The number of its line.
    #[serde(skip)]
    number: u64,
    #[serde(default)]
    id: Option<Value>,
    #[serde(alias = "touser")]
    openid: OpenId,
    template_id: TemplateId,
    scene: Scene,
    #[serde(default)]
    consented_at: Option<String>,
}

impl ImportedConsent {
    /// Reads a line. The error says what is wrong with it.
    fn read(line: &Line) -> Result<Self, String> {
        let json = line.json().map_err(|error| shown(&error.rule().localized()))?;
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(localized!("must be one JSON object", "必须是一个 JSON 对象"));
        }
        let consent: Self = serde_json::from_slice(json).map_err(|error| {
            // The position is one within the line.
            let (text, column) = (error.to_string(), error.column());
            let text = text.strip_suffix(&format!(" at line 1 column {column}")).unwrap_or(&text);
            localized!("{text}, at byte {column} of the line", "{text}（该行第 {column} 字节处）")
        })?;
        // Some programs cannot leave an empty member out.
        Ok(Self { number: line.number, id: consent.id.filter(|id| id != ""), ..consent })
    }

    fn subject(&self, appid: &AppId) -> Subject {
        let Self { openid, template_id, scene, .. } = self;
        let (openid, template_id) = (openid.clone(), template_id.clone());
        Subject { appid: appid.clone(), openid, template_id, scene: *scene }
    }

    /// What identifies the consent.
    fn name(&self) -> String {
        match &self.id {
            Some(id) => format!("import-id:{}", id.as_str().map_or_else(|| id.to_string(), str::to_owned)),
            None => {
                let Self { openid, template_id, scene, consented_at, .. } = self;
                let at = consented_at.as_deref().unwrap_or_default();
                format!("import:{openid}\0{template_id}\0{scene}\0{at}")
            }
        }
    }
}

impl Import {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let appid = self.outbox.appid()?;
        let mut file = open_rewindable(&self.file)?;
        self.check(&file)?;
        file.rewind().map_err(|error| unreadable(&self.file, &error))?;
        let consents =
            self.consents(&file, localized!("the file was changed meanwhile", "文件在导入期间被修改"));
        let counts = match self.outbox.place()? {
            OutboxPlace::Ledger(path) => record_in_ledger(path, &appid, consents).await?,
            OutboxPlace::Server(server) => record_on_server(&server, &appid, consents).await?,
        };
        let Counts { recorded, known, absorbed } = counts;
        console::note(localized!(
            "{recorded} recorded, {known} recorded before, {absorbed} add nothing to a grant that is not used yet",
            "已登记 {recorded} 个；{known} 个之前已登记；{absorbed} 个没有增加授权，因为已有的授权尚未使用"
        ));
        Ok(ExitStatus::Success)
    }

    /// Reads all consents. One that is invalid stops the import before anything is recorded.
    fn check(&self, file: &File) -> Result<(), CliError> {
        let nothing = localized!("nothing was recorded", "没有登记任何授权");
        let invalid = self.consents(file, nothing).filter_map(Result::err).map(|error| error.report());
        invalid.last().map_or(Ok(()), |_| Err(CliError::usages(Vec::new())))
    }

    /// The consents of the file, in order. The error of an invalid one has this note.
    fn consents(&self, file: &File, note: String) -> impl Iterator<Item = Result<ImportedConsent, CliError>> {
        LineReader::new(BufReader::new(file)).map(move |line| {
            let line = line.map_err(|error| unreadable(&self.file, &error))?;
            ImportedConsent::read(&line).map_err(|error| {
                let number = line.number;
                CliError::usage(localized!(
                    "line {number}: {error}; {note}",
                    "第 {number} 行：{error}；{note}"
                ))
            })
        })
    }
}

/// The number of consents by their outcome.
#[derive(Default)]
struct Counts {
    recorded: u64,
    known: u64,
    absorbed: u64,
}

impl Counts {
    fn add(&mut self, outcome: ConsentOutcome) {
        match outcome {
            ConsentOutcome::Recorded => self.recorded += 1,
            ConsentOutcome::AlreadyRecorded => self.known += 1,
            ConsentOutcome::Absorbed | ConsentOutcome::Declined => self.absorbed += 1,
        }
    }
}

async fn record_in_ledger(
    path: &Path,
    appid: &AppId,
    mut consents: impl Iterator<Item = Result<ImportedConsent, CliError>>,
) -> Result<Counts, CliError> {
    let (ledger, ids, mut counts) = (open_or_create(path).await?, IdGenerator::new(None), Counts::default());
    loop {
        let chunk: Vec<_> = consents.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
        if chunk.is_empty() {
            return Ok(counts);
        }
        let mut changes = Vec::new();
        for consent in &chunk {
            let grant = ids.grant(now()).map_err(CliError::unexpected)?;
            let nonce = Some(nonce_of_name(appid, &consent.name(), now()));
            let consent = NewConsent { grant, subject: consent.subject(appid), nonce };
            changes.push(Change::RecordConsent(Box::new(consent)));
        }
        for (consent, applied) in chunk.iter().zip(ledger.commit(changes).await?) {
            let recorded = Consent::from_applied(applied?)?;
            // Without an id, the name is that of the user, template and scene.
            if consent.id.is_some() {
                let checked = check_name(&*ledger, &consent.subject(appid), &recorded, "id").await;
                checked.map_err(|error| error.in_line(consent.number))?;
            }
            counts.add(ConsentView::from(Some(recorded)).outcome);
        }
    }
}

/// Records each consent with one request. Its idempotency key is the fingerprint of the consent's name.
async fn record_on_server(
    server: &ControlServer,
    appid: &AppId,
    consents: impl Iterator<Item = Result<ImportedConsent, CliError>>,
) -> Result<Counts, CliError> {
    let mut counts = Counts::default();
    for consent in consents {
        let consent = consent?;
        let key = Fingerprint::of_bytes(consent.name().as_bytes()).to_string();
        let key = IdempotencyKey::new(key).map_err(CliError::unexpected)?;
        let Subject { openid, template_id, scene, .. } = consent.subject(appid);
        let grant = NewGrant::Verified { openid, template_id, scene };
        let recorded = server.record_grant(appid, &grant, Some(&key)).await;
        let recorded = recorded.map_err(|error| {
            let next = localized!("import the file again", "请重新导入该文件");
            change_error(&error, &next).in_line(consent.number)
        })?;
        counts.add(recorded.outcome);
    }
    Ok(counts)
}
