/** Offline verification of a trail: everything, with no server and no secret. For Node and browsers. */
export { auditTrail, rebuildState, type AuditOptions, type AuditProgress, type RebuiltState } from './audit-trail.ts'
export { type AuditRemark, type AuditReport, type FindingCode } from './report.ts'
export { trailFiles, type TrailFile, type TrailSource } from './trail-source.ts'
