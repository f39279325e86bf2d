package etcd

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo makes the logger that etcd wants write to ours what is at least of the lowest level. A nil log is the process' default
// one, never silence: where etcd cannot go on, on a full disk say, it logs why and ends the process.
func zapTo(log *slog.Logger, lowest zapcore.LevelEnabler) *zap.Logger {
	if log == nil {
		log = slog.Default()
	}
	return zap.New(slogCore{log.Handler(), lowest})
}

// slogCore hands zap's entries to a slog handler.
type slogCore struct {
	handler slog.Handler
	lowest  zapcore.LevelEnabler
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (c slogCore) Enabled(l zapcore.Level) bool {
	return c.lowest.Enabled(l) && c.handler.Enabled(context.Background(), level(l))
}

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(enc)
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{c.handler.WithAttrs(attrs(fields)), c.lowest}
}

// early says whether a message is what etcd says when it looks for the version of its files before the first batch was
// written. It looks again a little later; ours starts faster than it expects.
func early(message string) bool {
	return message == "failed to update storage version" || message == "Failed to detect schema version"
}

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !early(e.Message) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, level(e.Level), e.Message, 0)
	r.AddAttrs(attrs(fields)...)
	return c.handler.Handle(context.Background(), r)
}

func (c slogCore) Sync() error { return nil }
