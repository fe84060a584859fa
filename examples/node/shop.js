// A shop that asks for a consent, queues a message, and learns how it ended, through `wxsub serve`.
// Node 18 or newer, standard library only. docs/curl.md says how to run it.

const { createHmac, randomBytes, timingSafeEqual } = require('node:crypto')
const { createServer } = require('node:http')

const { WXSUB_SERVER, WXSUB_APPID, WXSUB_KEY, WXSUB_WEBHOOK_SECRET, PORT = '8000' } = process.env
const APP = `${WXSUB_SERVER}/v1/apps/${WXSUB_APPID}`
// One scene for each occasion of a message, here "the parcel leaves". Not one for each order.
const CONSENT = { template_id: 'sandbox-template-1', scene: 1000 }

/** POSTs JSON to the control server. Throws the problem if the server refuses. */
async function call(path, body, headers = {}) {
  const response = await fetch(APP + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${WXSUB_KEY}`, 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(35000),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.detail)
  return answer
}

function verify(secret, id, timestamp, signature, body) {
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) throw new Error('too old, or from the future')
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest()
  const matches = signature.split(' ').some((one) => {
    const given = Buffer.from(one.replace(/^v1,/, ''), 'base64')
    return one.startsWith('v1,') && given.length === expected.length && timingSafeEqual(given, expected)
  })
  if (!matches) throw new Error('wrong signature')
  return JSON.parse(body)
}

/** Makes a session and sends the visitor to Weixin. */
async function ask(response) {
  const session = randomBytes(8).toString('hex')
  const back = `http://127.0.0.1:${PORT}/back`
  const issued = await call('/consents', { ...CONSENT, session, redirect_url: back })
  // `Lax` sends the cookie when Weixin redirects the visitor back. Add `Secure` where there is TLS.
  const cookie = `session=${session}; HttpOnly; SameSite=Lax; Path=/`
  response.writeHead(302, { Location: issued.url, 'Set-Cookie': cookie }).end()
}

/** Handles the callback: has the server verify and record it, and queues the message. */
async function back(url, request) {
  const session = /(?:^|; )session=([0-9a-f]+)/.exec(request.headers.cookie ?? '')?.[1] ?? ''
  const consent = await call('/grants', { callback: url.search.slice(1), session })
  if (consent.outcome === 'declined') return 'No message, then.'
  const message = {
    ...CONSENT,
    touser: url.searchParams.get('openid'),
    title: 'Parcel',
    data: { content: { value: 'It is on its way.' } },
  }
  // The same key again is the same message: a reload, or a repeat after a lost response, sends nothing twice.
  const queued = await call('/outbox', message, { 'Idempotency-Key': `order-${session}` })
  return `Thank you. Your message is ${queued.id}.`
}

/** Handles a webhook: how a message ended. */
async function hook(request) {
  const chunks = []
  let length = 0
  for await (const chunk of request) {
    length += chunk.length
    if (length > 65536) throw new Error('too long')
    chunks.push(chunk)
  }
  const [id, timestamp, signature] = ['id', 'timestamp', 'signature'].map((name) => request.headers[`webhook-${name}`] ?? '')
  const { data } = verify(WXSUB_WEBHOOK_SECRET, id, timestamp, signature, Buffer.concat(chunks))
  // A webhook can come twice. Store `id` with the largest `sequence`, and ignore smaller ones.
  console.log(data.idempotency_key, data.outcome)
  return 'stored'
}

async function handle(request, response) {
  try {
    const url = new URL(request.url, `http://127.0.0.1:${PORT}`)
    if (request.method === 'GET' && url.pathname === '/') return await ask(response)
    if (request.method === 'GET' && url.pathname === '/back') return response.end(await back(url, request))
    if (request.method === 'POST' && url.pathname === '/hooks') return response.end(await hook(request))
    response.writeHead(404).end('no such page')
  } catch (error) {
    response.writeHead(400).end(error.message)
  }
}

createServer(handle).listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${PORT}`))
