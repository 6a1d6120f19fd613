package telemetry

import (
	"go.opentelemetry.io/otel/attribute"

	"polity.run/fault"
)

// This file is the one place that knows what things are called outside: the semantic conventions of OpenTelemetry for generative AI, as of
// the last version of them that the core conventions held (1.41.1, all of it "development"), and Polity's own names for what they have no
// word for. Everything else speaks of runs, steps and effects.
const schemaURL = "https://opentelemetry.io/schemas/1.41.1"

// The attributes of spans and metrics.
const (
	attrOperation    = attribute.Key("gen_ai.operation.name")
	attrAgent        = attribute.Key("gen_ai.agent.name")
	attrWorkflow     = attribute.Key("gen_ai.workflow.name")
	attrConversation = attribute.Key("gen_ai.conversation.id")
	attrProvider     = attribute.Key("gen_ai.provider.name")
	attrModel        = attribute.Key("gen_ai.request.model")
	attrTool         = attribute.Key("gen_ai.tool.name")
	attrToolCall     = attribute.Key("gen_ai.tool.call.id")
	attrToolResult   = attribute.Key("gen_ai.tool.call.result")
	attrOutput       = attribute.Key("gen_ai.output.messages")
	attrInputTokens  = attribute.Key("gen_ai.usage.input_tokens")
	attrOutputTokens = attribute.Key("gen_ai.usage.output_tokens")
	attrTokenType    = attribute.Key("gen_ai.token.type")
	attrError        = attribute.Key("error.type")

	attrRun     = attribute.Key("polity.run.id")
	attrStatus  = attribute.Key("polity.run.status")
	attrSkill   = attribute.Key("polity.skill")
	attrRelease = attribute.Key("polity.release")
	attrStep    = attribute.Key("polity.step")
	attrAttempt = attribute.Key("polity.attempt")
	attrEffect  = attribute.Key("polity.effect")
	attrCost    = attribute.Key("polity.cost_usd")
	attrCommit  = attribute.Key("polity.commit")
	attrPayload = attribute.Key("polity.output")
)

// The operations.
const (
	opAgent    = "invoke_agent"
	opWorkflow = "invoke_workflow"
	opTool     = "execute_tool"
	opChat     = "chat"
)

// The metrics.
const (
	metricRunsOpened   = "polity.runs.opened"
	metricRunsEnded    = "polity.runs.ended"
	metricRunsLive     = "polity.runs.live"
	metricRunDuration  = "gen_ai.invoke_agent.duration"
	metricToolDuration = "gen_ai.execute_tool.duration"
	metricChatDuration = "gen_ai.client.operation.duration"
	metricTokens       = "gen_ai.client.token.usage"
	metricCost         = "polity.cost"
	metricEffects      = "polity.effects"
	metricCommits      = "polity.log.commits"
	metricEvents       = "polity.log.events"
	metricCommitTime   = "polity.log.commit.duration"
	metricCommitSize   = "polity.log.commit.records"
	metricStalls       = "polity.log.stalls"
	metricQueue        = "polity.queue.length"
	metricAwake        = "polity.runs.awake"
	metricAsleep       = "polity.runs.asleep"
	metricStopped      = "polity.runs.stopped"
	metricInFlight     = "polity.effects.in_flight"
	metricCheckpoint   = "polity.checkpoint.behind"
	metricViewBehind   = "polity.view.behind"
	metricViewLag      = "polity.view.lag"
	metricModelWaiting = "polity.models.waiting"
	metricLiveTaken    = "polity.messages.live"
	metricLiveDropped  = "polity.messages.live.dropped"
	metricDiskFree     = "polity.disk.free"
	metricReady        = "polity.ready"
	metricLag          = "polity.telemetry.lag"
	metricExported     = "polity.telemetry.spans.exported"
	metricFailures     = "polity.telemetry.export.failures"
)

// The buckets that the conventions advise, in seconds and in tokens.
var (
	secondBuckets = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	commitBuckets = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
	recordBuckets = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048}
	tokenBuckets  = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// errorType is the value of error.type.
func errorType(f *fault.Error) attribute.KeyValue { return attrError.String(string(f.Kind)) }
